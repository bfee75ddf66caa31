"""The Plug & Play attack: what does a class look like to the classifier that knows it?

In the steps of Struppek et al. 2022 (arXiv 2201.12179): a pool of latents, of which the best for each class are kept;
Adam on these; and of the images that come out, those that the classifier calls by the class under many transforms. How
the middle step goes is a question of access: through the classifier, through a surrogate that was taught by its
answers, or away from its boundary where it answers labels alone. It shows what a class looks like, no individual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from splitfed.errors import UserError
from splitfed.generators import ImageGenerator, images_of
from splitfed.inversion.descent import DescentStep, descend
from splitfed.inversion.losses import check_two_classes
from splitfed.inversion.options import PlugAndPlayOptions
from splitfed.inversion.oracle import BudgetExhausted, Classifier, Oracle
from splitfed.inversion.repulsion import RepulsionStep, repel
from splitfed.inversion.searched import ClassFindings, ClassInversion, InversionMoment, OnMoment, Stage
from splitfed.inversion.selection import Pool, confidence_under_transforms, draw_pool, questions
from splitfed.inversion.surrogate import Surrogate

SHOWN = 8
"""Candidates of a class whose images are told of."""


def invert(
    target: Classifier,
    generator: ImageGenerator,
    *,
    classes: int,
    options: PlugAndPlayOptions,
    draws: torch.Generator,
    labels: Sequence[int] | None = None,
    on_moment: OnMoment = lambda _moment: None,
) -> ClassInversion:
    """Search a generator's latents for what a classifier calls by each class.

    The same draws give the same images, bit for bit, with one thread and a target that answers the same.

    Args:
        target: images (B, C, H, W) in [0, 1] to what ``options.access`` says.
        generator: it is prepared.
        classes: K, that the target tells apart.
        options: of the attack.
        draws: of everything random in it.
        labels: the classes to search for; by default all.
        on_moment: told how far it has come.

    Raises:
        UserError: settings that cannot work; nothing was asked.
        AttackError: the target's answers, or the generator's images, are none.
    """
    if classes < 2:
        raise UserError(f"the target tells {classes} class apart; inversion needs at least 2")
    if options.access == "query":
        check_two_classes(options.loss, classes)
    if options.query_budget is not None and options.query_budget < questions(options):
        raise UserError(
            f"query_budget ({options.query_budget:,}) is less than the {questions(options):,} questions about the pool "
            f"alone (pool_size {options.pool_size:,}{', twice: mirror is on' if options.mirror else ''}); raise it, or "
            "lower pool_size"
        )
    wanted = tuple(range(classes)) if labels is None else tuple(labels)
    strange = [label for label in wanted if not 0 <= label < classes]
    if strange or not wanted:
        found = f"class {strange[0]}" if strange else "no class"
        raise UserError(f"{found} is searched for; the target tells classes 0 to {classes - 1} apart")
    oracle = Oracle(target, options.access, classes, options.query_budget)
    return _Inversion(oracle, generator, options, draws, wanted, on_moment).run()


@dataclass
class _Candidates:
    """The latents of one class as they are searched.

    Attributes:
        label: the class.
        starts: after the initial selection, (n, ...).
        latents: now.
        confidence: by which they are ranked where the final selection cannot be asked for, (n,).
    """

    label: int
    starts: Tensor
    latents: Tensor
    confidence: Tensor


class _Inversion:
    """One attack under way."""

    def __init__(
        self,
        oracle: Oracle,
        generator: ImageGenerator,
        options: PlugAndPlayOptions,
        draws: torch.Generator,
        labels: tuple[int, ...],
        on_moment: OnMoment,
    ) -> None:
        self._oracle, self._generator, self._options, self._draws = oracle, generator, options, draws
        self._labels, self._on_moment = labels, on_moment
        self._exhausted = ""

    def run(self) -> ClassInversion:
        """Pool, search, final selection."""
        surrogate = None
        if self._oracle.access == "query":
            shape, width = self._generator.shape, self._options.surrogate_width
            surrogate = Surrogate(shape, self._oracle.classes, width, self._draws)
        pool = self._pool(surrogate)
        self._exhausted = _kept(pool.exhausted) if pool.exhausted else ""
        candidates = [self._start(pool, label) for label in self._labels]
        if surrogate is not None:
            self._search_surrogate(candidates, surrogate)
        for each in candidates if surrogate is None else ():
            self._guarded(lambda each=each: self._search(each))  # type: ignore[misc]
        found = tuple(self._finish(pool, number, each) for number, each in enumerate(candidates))
        return ClassInversion(self._oracle.access, found, self._oracle.asked, self._exhausted)

    def _pool(self, surrogate: Surrogate | None) -> Pool:
        def told(done: int, images: Tensor, answers: Tensor) -> None:
            if surrogate is not None:
                surrogate.remember(images, answers)
            self._tell("pool", None, done, self._options.pool_size)

        return draw_pool(self._generator, self._oracle, self._options, self._draws, told)

    def _start(self, pool: Pool, label: int) -> _Candidates:
        best = pool.best(label, self._options.candidates)
        latents = pool.latents[best]
        return _Candidates(label, latents, latents.clone(), pool.confidence[best, label])

    # the search, by access

    def _search(self, candidates: _Candidates) -> None:
        if self._oracle.access == "gradients":
            self._descend(candidates, self._oracle.logits, 0, self._options.steps)
        else:
            self._repel(candidates)

    def _search_surrogate(self, every: Sequence[_Candidates], surrogate: Surrogate) -> None:
        """Descend through what was taught by answers; in between, ask about what was found."""
        options = self._options
        self._teach(surrogate, options.surrogate_epochs)
        ends = [options.steps * (part + 1) // options.surrogate_rounds for part in range(options.surrogate_rounds)]
        for part, (first, last) in enumerate(zip([0, *ends], ends, strict=False)):
            if part and self._guarded(lambda: self._ask_again(every, surrogate)):
                self._teach(surrogate, -(-options.surrogate_epochs // 4))
            for each in every if last > first else ():
                self._descend(each, surrogate.logits, first, last)

    def _teach(self, surrogate: Surrogate, epochs: int) -> None:
        for epoch in range(epochs):
            surrogate.learn(1)
            self._tell("distillation", None, epoch + 1, epochs)

    def _ask_again(self, every: Iterable[_Candidates], surrogate: Surrogate) -> None:
        for each in every:
            for latents in torch.split(each.latents, self._options.batch_size):
                images = images_of(self._generator, latents)
                surrogate.remember(images, self._oracle.probabilities(images))

    def _descend(self, candidates: _Candidates, classify: Callable[[Tensor], Tensor], first: int, last: int) -> None:
        def steps(latents: Tensor, wanted: Tensor) -> Iterable[DescentStep]:
            return descend(
                latents,
                wanted,
                classify,
                self._generator,
                self._options,
                self._draws,
                first_step=first,
                last_step=last,
            )

        for number, rows in enumerate(self._batches(candidates)):
            for step in steps(candidates.latents[rows], torch.full((len(rows),), candidates.label)):
                candidates.latents[rows], candidates.confidence[rows] = step.latents, step.confidence
                images = None if number else step.images[:SHOWN]
                confidence = float(step.confidence.mean())
                self._tell("search", candidates.label, step.number, self._options.steps, images, confidence)

    def _repel(self, candidates: _Candidates) -> None:
        def inside(latents: Tensor) -> Tensor:
            asked = [
                self._oracle.probabilities(images_of(self._generator, part))[:, candidates.label] > 0
                for part in torch.split(latents, self._options.batch_size)
            ]
            return torch.cat(asked)

        def steps(latents: Tensor) -> Iterable[RepulsionStep]:
            return repel(latents, inside, self._generator.prior, self._options, self._draws)

        for number, rows in enumerate(self._batches(candidates)):
            for step in steps(candidates.latents[rows]):
                candidates.latents[rows], candidates.confidence[rows] = step.latents, step.radius
                images = None if number else images_of(self._generator, step.latents[:SHOWN])
                self._tell("search", candidates.label, step.number, self._options.label_steps, images)

    # the end

    def _finish(self, pool: Pool, number: int, candidates: _Candidates) -> ClassFindings:
        options, label = self._options, candidates.label
        images = images_of(self._generator, candidates.latents)
        confidence = candidates.confidence

        def judge() -> None:
            nonlocal confidence
            confidence = confidence_under_transforms(images, label, self._oracle, options, self._draws)

        judged = self._guarded(judge)
        best = confidence.argsort(descending=True, stable=True)[: options.kept]
        chosen = float(confidence[best].mean()) if judged else None
        self._tell("final", label, number + 1, len(self._labels), images[best[:SHOWN]], chosen)
        return ClassFindings(
            label,
            images[best],
            candidates.latents[best],
            confidence[best],
            judged,
            starts=images_of(self._generator, candidates.starts[: options.kept]),
            random=images_of(self._generator, self._random(pool, number, label)),
            moved=self._moved(candidates),
        )

    def _random(self, pool: Pool, number: int, label: int) -> Tensor:
        """Latents as the prior has them, others for each class; the pool is in random order."""
        own = pool.latents[pool.of_class(label)]
        count = min(self._options.kept, len(own))
        return own.roll(-number * count, dims=0)[:count]

    def _moved(self, candidates: _Candidates) -> float:
        change = (candidates.latents - candidates.starts).flatten(1) / self._generator.prior.spread.clamp_min(1e-12)
        return float(change.square().mean().sqrt())

    def _batches(self, candidates: _Candidates) -> Sequence[Tensor]:
        return torch.split(torch.arange(len(candidates.latents)), self._options.batch_size)

    def _guarded(self, work: Callable[[], None]) -> bool:
        """Do what asks the classifier; whether the budget allowed it. What was found before is kept."""
        try:
            work()
        except BudgetExhausted as end:
            self._exhausted = self._exhausted or _kept(str(end))
            return False
        return True

    def _tell(
        self,
        stage: Stage,
        label: int | None,
        done: int,
        total: int,
        images: Tensor | None = None,
        confidence: float | None = None,
    ) -> None:
        self._on_moment(InversionMoment(stage, label, done, total, images, confidence, self._oracle.asked))


def _kept(message: str) -> str:
    return f"{message}. What was found until then is kept"
