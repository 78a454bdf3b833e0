"""A search algorithm of one's own: step from the best point so far, in a space of any kind."""

import dataclasses

from kuttab.algorithms import algorithm, distinct, settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClimbSettings(settings.Settings):
    reach: float = settings.real(0.15, "Standard deviation of a step, as a share of the range.", above=0, at_most=1)


class Climb(algorithm.Algorithm):
    name = "climb"
    summary = "Steps from the best point so far."
    Settings = ClimbSettings

    def propose(self, history, first, count):
        ledger, best, items = distinct.Ledger(history), history.best(), []
        for number in range(first, first + count):
            generator = self.random(number)  # depends on the seed and the number alone
            codes = ledger.draw(generator)  # an unseen point; None when all have been seen
            if codes is None:
                return algorithm.Proposals(tuple(items), exhausted=True)
            if best is not None:
                step = self.problem.settings.reach * generator.standard_normal(len(self.space))
                near = self.space.decode((self.space.to_unit(best.parameters) + step)[None, :])
                codes = ledger.first_fresh(near, generator)
            ledger.take(codes)
            items.append(algorithm.Proposal(self.space.point(codes)))
        return algorithm.Proposals(tuple(items), exhausted=ledger.exhausted)
