"""A search algorithm as a service: any Katib can ask it, and kuttab starts it by itself (see config.yaml)."""

from kuttab.algorithms import algorithm
from kuttab.rpc import hosting


class Zoom(algorithm.Algorithm):
    name = "zoom"
    summary = "Draws around the best point so far, closer and closer."
    repeats = True  # it may propose a point of a small space again

    def propose(self, history, first, count):
        best, items = history.best(), []
        for number in range(first, first + count):
            generator = self.random(number)  # depends on the seed and the number alone
            if best is None or number % 4 == 0:
                unit = generator.random(len(self.space))
            else:
                unit = self.space.to_unit(best.parameters) + generator.normal(0, 1 / (2 + number), len(self.space))
            items.append(algorithm.Proposal(self.space.point(self.space.decode(unit[None, :])[0])))
        return algorithm.Proposals(tuple(items))


if __name__ == "__main__":
    hosting.serve(Zoom)
