"""A bar for the steps of a run: the epoch, the loss, and the time that is left."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

# How much one step counts in the loss that is shown.
WEIGHT = 0.05


class StepBar:
    """Shows a run of `steps` steps in all; called after each with the epoch and the loss."""

    def __init__(self, name: str, epochs: int, steps: int, console: Console | None = None) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console)
        self._name, self._epochs = name, epochs
        self._task = self._progress.add_task(name, total=steps)
        self.loss: float | None = None

    def __enter__(self) -> "StepBar":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, epoch: int, loss: float) -> None:
        old = loss if self.loss is None else self.loss
        self.loss = old + WEIGHT * (loss - old)
        text = f"{self._name}: epoch {epoch}/{self._epochs}, loss {self.loss:.2f}"
        self._progress.update(self._task, advance=1, description=text)
