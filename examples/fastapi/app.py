"""FastAPI: one run a fire, under any number of workers."""

from fastapi import FastAPI

from tenure import Tenure, every

tenure = Tenure(profile="example-fastapi")


@tenure.job(every("2s"))
async def refresh() -> None:
    print("refreshed", flush=True)


app = FastAPI(lifespan=tenure.lifespan)


@app.get("/")
def index() -> dict[str, bool]:
    return {"this worker runs the jobs": tenure.owns}
