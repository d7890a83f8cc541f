"""Nights as Luigi tasks: each feed is scored once it is there, and the days' figures follow."""

import subprocess
from datetime import timedelta

import luigi


class Feed(luigi.ExternalTask):
    """The feed of a night, which somebody else delivers."""

    night = luigi.DateParameter()

    def output(self):
        return luigi.LocalTarget(f"feeds/{self.night}.csv")


class Scored(luigi.Task):
    """A night with labels. The file is there whole or not at all, so that it is its own mark."""

    night = luigi.DateParameter()
    model = luigi.Parameter(default="promoted")

    @property
    def resources(self):
        return {"store": 1}

    def requires(self):
        return Feed(self.night)

    def output(self):
        return luigi.LocalTarget(f"scored/{self.night}.parquet")

    def run(self):
        command = ["finsent-batch", "--lock-wait", "600", "-q", "score", self.input().path]
        options = ["-o", self.output().path, "--model", self.model]
        subprocess.run([*command, *options], check=True)


class Daily(luigi.Task):
    """Mean sentiment by day until a night, once the nights before it are scored."""

    until = luigi.DateParameter()
    nights = luigi.IntParameter(default=7)
    model = luigi.Parameter(default="promoted")

    def requires(self):
        days = (self.until - timedelta(days=i) for i in range(self.nights))
        return [Scored(night=day, model=self.model) for day in days]

    def output(self):
        return luigi.LocalTarget(f"daily/{self.until}.csv")

    def run(self):
        self.output().makedirs()
        query = ["query", "daily_sentiment", "--param", f"until={self.until}"]
        subprocess.run(["finsent-batch", *query, "-o", self.output().path], check=True)
