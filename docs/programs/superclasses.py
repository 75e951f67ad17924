"""Label images of CIFAR-100 by its twenty superclasses: `superclasses.py IN.npz OUT.npz`.

Classes are numbered in the order of their names, and so are superclasses, from aquatic mammals to the second kind of
vehicles. Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, section 3.
"""

from __future__ import annotations

import argparse

import numpy as np

# The classes of each superclass.
CLASSES = (
    (4, 30, 55, 72, 95), (1, 32, 67, 73, 91), (54, 62, 70, 82, 92), (9, 10, 16, 28, 61), (0, 51, 53, 57, 83),
    (22, 39, 40, 86, 87), (5, 20, 25, 84, 94), (6, 7, 14, 18, 24), (3, 42, 43, 88, 97), (12, 17, 37, 68, 76),
    (23, 33, 49, 60, 71), (15, 19, 21, 31, 38), (34, 63, 64, 66, 75), (26, 45, 77, 79, 99), (2, 11, 35, 46, 98),
    (27, 29, 44, 78, 93), (36, 50, 65, 74, 80), (47, 52, 56, 59, 96), (8, 13, 48, 58, 90), (41, 69, 81, 85, 89),
)  # fmt: skip


def main() -> None:
    """Write the file with other labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="labelled images of CIFAR-100, with labels `y` from 0 to 99")
    parser.add_argument("out", help="the file to write")
    args = parser.parse_args()
    superclass = np.empty(100, np.int64)
    for number, classes in enumerate(CLASSES):
        superclass[list(classes)] = number
    with np.load(args.images) as data:
        arrays = {name: data[name] for name in data.files if name != "classes"}
    np.savez(args.out, **{**arrays, "y": superclass[arrays["y"]]})


if __name__ == "__main__":
    main()
