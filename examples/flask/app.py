"""Flask: started where the application is served, not where it is only imported."""

from flask import Flask

from tenure import Tenure, every

tenure = Tenure(profile="example-flask")
app = Flask(__name__)
tenure.init_app(app)


@tenure.job(every("2s"))
def refresh() -> None:
    print("refreshed", flush=True)


@app.get("/")
def index() -> dict[str, bool]:
    return {"this process runs the jobs": tenure.owns}
