"""How fast frames of radio nodes are decoded: lines as the board says them into values, on one core.

    python -m bench.decode_rfm2pi [--frames 200000]

The lines are those that prove the ready decoders. A radio band carries less than a hundred frames in a second.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

from connectors.rfm2pi import codec
from connectors.rfm2pi.layout import SIGNED_16_BIT
from connectors.rfm2pi.nodes import NodeConfig, Nodes
from connectors.rfm2pi.ready import ready_decoders
from wattbus.flattening import flatten


def lines_and_nodes() -> tuple[list[str], Nodes]:
    """Every proof's line, and nodes that decode them."""
    lines: list[str] = []
    described: dict[int, NodeConfig] = {}
    for name, ready in ready_decoders().items():
        for proof in ready.proofs:
            frame = codec.understand(proof.line)
            assert isinstance(frame, codec.RadioFrame)
            described[frame.node] = NodeConfig(name=f"{name}_{frame.node}", decoder=name)
            lines.append(proof.line)
    return lines, Nodes.of(described)


def per_second(work: Callable[[str], object], lines: list[str], frames: int) -> float:
    start = time.perf_counter()
    for line in itertools.islice(itertools.cycle(lines), frames):
        work(line)
    return frames / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200_000)
    frames = parser.parse_args().frames
    lines, nodes = lines_and_nodes()
    unknown = Nodes({}, SIGNED_16_BIT)
    works: dict[str, Callable[[str], object]] = {
        "decoded, described nodes": lambda line: codec.decode(line, nodes),
        "decoded, unknown nodes": lambda line: codec.decode(line, unknown),
        "decoded and flattened, as in the runtime": lambda line: list(map(flatten, codec.decode(line, nodes))),
    }
    for what, work in works.items():
        print(f"{what}: {per_second(work, lines, frames):,.0f} frames/s")


if __name__ == "__main__":
    main()
