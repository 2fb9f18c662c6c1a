"""The thread that predicts: what came in while it was busy it predicts together, for ten rows take as long as one."""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pandas as pd
from threadpoolctl import ThreadpoolController

from ..data import contract as contracts
from ..data.contract import as_input
from . import predict as live

Row = Sequence[Any]  # the features of the contract, in its types, then the keys
Answer = tuple[list[Any], list[dict[str, float]] | None]
Forecast = Callable[[pd.DataFrame], pd.DataFrame]
MOST = 1000  # rows, beyond which no other request is waited for together


class Worker:
    """Answers rows with the champion; `folder` is where the served rows are kept, if anywhere.

    `forecast` makes of one request's rows the rows that follow them.
    """

    def __init__(self, champion: live.Champion, folder: Path | None, forecast: Forecast | None = None) -> None:
        self.champion, self.folder, self.id = champion, folder, str(champion.pointer["id"])
        self.forecast, self.most = forecast, 1 if forecast else MOST
        self.features = contracts.features(champion.contract)
        self.keys = contracts.columns(champion.contract, "key")
        self.threads = ThreadpoolController()  # several would only wait for each other over a few rows
        self.waiting: SimpleQueue[tuple[list[Row], Future[Answer]]] = SimpleQueue()
        Thread(target=self._work, daemon=True).start()

    async def ask(self, rows: list[Row], seconds: float) -> Answer:
        """Predictions and probabilities; TimeoutError when they take longer, and what has not begun is left."""
        future: Future[Answer] = Future()
        self.waiting.put((rows, future))
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)

    def _work(self) -> None:
        while True:
            asked = [self.waiting.get()]
            while not self.waiting.empty() and sum(len(rows) for rows, _ in asked) < self.most:
                asked.append(self.waiting.get())
            self._answer([(rows, future) for rows, future in asked if future.set_running_or_notify_cancel()])

    def _answer(self, asked: list[tuple[list[Row], Future[Answer]]]) -> None:
        if not asked:
            return
        try:
            predicted, scores = self._predict([row for rows, _ in asked for row in rows])
        except Exception as error:
            if len(asked) == 1:
                asked[0][1].set_exception(error)
            else:  # one of them is to blame, the others are not
                for one in asked:
                    self._answer([one])
            return
        for rows, future in asked:
            size = len(predicted) if self.forecast else len(rows)
            answer = predicted[:size], scores and scores[:size]
            predicted, scores = predicted[size:], scores and scores[size:]
            future.set_result(answer)
            if self.folder:
                self._keep(self.folder, rows, *answer)

    def _predict(self, rows: list[Row]) -> Answer:
        rules = self.champion.contract["columns"]
        columns = zip(self.features, zip(*rows, strict=True), strict=False)
        frame = pd.DataFrame({name: pd.Series(values, dtype=rules[name]["dtype"]) for name, values in columns})
        with self.threads.limit(limits=1):
            if self.forecast:
                return self.forecast(frame).to_dict("records"), None
            predicted, scores = live.predict(self.champion.estimator, as_input(frame, self.features))
        return predicted.tolist(), None if scores is None else scores.to_dict("records")

    def _beside(self, name: str) -> str:
        return contracts.beside(name, self.champion.contract)

    def _line(self, row: Row, prediction: Any, chances: dict[str, float]) -> dict[str, Any]:
        asked = dict(zip([*self.features, *self.keys], row, strict=True))
        named = {self._beside(f"probability_{label}"): chance for label, chance in chances.items()}
        return {**asked, "prediction": prediction, **named}

    def _keep(self, folder: Path, rows: list[Row], predicted: list[Any], scores: list[dict[str, float]] | None) -> None:
        """Adds the rows and their answers to the file of the day, in one write; of a forecast the answers alone."""
        now = datetime.now(UTC)
        said = {self._beside("served_at"): now.isoformat(timespec="milliseconds"), self._beside("model"): self.id}
        chances = scores or [{}] * len(rows)
        lines = predicted if self.forecast else list(map(self._line, rows, predicted, chances))
        try:
            with (folder / f"{now:%Y-%m-%d}.jsonl").open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line | said, default=str) + "\n" for line in lines))
        except OSError as error:
            print(json.dumps({"problem": f"served rows are not kept: {error}"}), file=sys.stderr, flush=True)
