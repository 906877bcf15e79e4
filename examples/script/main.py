"""A plain program with jobs: start it in two terminals, and end the one that runs them."""

from tenure import Context, Tenure, every

tenure = Tenure(profile="example-script")


@tenure.job(every("2s"))
def tick(context: Context) -> None:
    print(f"tick for {context.fire_time:%H:%M:%S}, term {context.term}", flush=True)


if __name__ == "__main__":
    tenure.run_forever()  # until SIGTERM or Ctrl-C; then it hands over, and exits 0
