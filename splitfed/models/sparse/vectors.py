"""Sixteen numbers at a time: the few vector operations in which the compiled loops spend their time.

The compiler's own vectorization must first prove for each short row that arrays do not overlap, and it turns a search
into single comparisons. These operations are written in LLVM's terms instead, which fit any processor and both
precisions. Arrays are flat and contiguous; an operation touches ``LANES`` numbers from an offset on, and checks no
bounds.
"""

# ruff: noqa: ARG001 (numba passes an operation the types of its arguments, and reads their number from its signature)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic as _intrinsic

from splitfed.models.sparse.compiled import LANES

_CHAINS = 4
POSITIONS = 4
"""Patches that `project` takes at a time: enough for additions not to wait for each other."""

cgutils: Any = _cgutils


def intrinsic(typing: Callable[..., Any]) -> Any:
    """numba's decorator; what it makes takes the arguments without the first."""
    return _intrinsic(typing)


class _Writer:
    """Writes the vector instructions of one call whose first argument is an array."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self._context, self._builder = context, builder
        self._types, self._arguments = signature.args, arguments
        number = context.get_value_type(signature.args[0].dtype)
        self._bytes = 4 if isinstance(number, ir.FloatType) else 8
        self._vector = ir.VectorType(number, LANES)
        self.zero = ir.Constant(self._vector, [0.0] * LANES)

    def address(self, array: int) -> Any:
        """Of the vector in this argument that begins at the offset in the next."""
        view = cgutils.create_struct_proxy(self._types[array])(self._context, self._builder, self._arguments[array])
        first = cgutils.gep(self._builder, view.data, self._arguments[array + 1])
        return self._builder.bitcast(first, self._vector.as_pointer())

    def load(self, address: Any) -> Any:
        return self._builder.load(address, align=self._bytes)

    def store(self, vector: Any, address: Any) -> None:
        self._builder.store(vector, address, align=self._bytes)

    def spread(self, argument: int) -> Any:
        """A vector of this one argument."""
        return self._spread(self._arguments[argument])

    def _spread(self, number: Any) -> Any:
        nothing = ir.Constant(self._vector, ir.Undefined)
        one = self._builder.insert_element(nothing, number, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self._builder.shuffle_vector(one, nothing, zeros)

    def bits(self, flags: Any) -> Any:
        """The flags of a vector as a whole number, lane 0 last."""
        return self._builder.zext(self._builder.bitcast(flags, ir.IntType(LANES)), ir.IntType(64))

    def largest(self, vector: Any) -> Any:
        """The largest lane, in every lane."""
        for distance in (8, 4, 2, 1):
            turned = [(lane + distance) % LANES for lane in range(LANES)]
            order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), turned)
            vector = self.larger(vector, self._builder.shuffle_vector(vector, vector, order))
        return vector

    def larger(self, a: Any, b: Any) -> Any:
        return self._builder.select(self._builder.fcmp_ordered(">", a, b), a, b)

    def sum(self, vector: Any) -> Any:
        """Of all lanes, a number."""
        for distance in (8, 4, 2, 1):
            turned = [(lane + distance) % LANES for lane in range(LANES)]
            order = ir.Constant(ir.VectorType(ir.IntType(32), LANES), turned)
            vector = self._builder.fadd(vector, self._builder.shuffle_vector(vector, vector, order))
        return self._builder.extract_element(vector, ir.IntType(32)(0))

    def vector_at(self, array: int, offset: Any) -> Any:
        """The vector in this argument that begins at the offset."""
        view = cgutils.create_struct_proxy(self._types[array])(self._context, self._builder, self._arguments[array])
        first = cgutils.gep(self._builder, view.data, offset)
        return self.load(self._builder.bitcast(first, self._vector.as_pointer()))

    def put_at(self, vector: Any, array: int, offset: Any) -> None:
        """Write the vector into this argument, from the offset on."""
        view = cgutils.create_struct_proxy(self._types[array])(self._context, self._builder, self._arguments[array])
        first = cgutils.gep(self._builder, view.data, offset)
        self.store(vector, self._builder.bitcast(first, self._vector.as_pointer()))

    def number_at(self, array: int, offset: Any) -> Any:
        """A vector of the one number at this offset in this argument."""
        view = cgutils.create_struct_proxy(self._types[array])(self._context, self._builder, self._arguments[array])
        return self._spread(self._builder.load(cgutils.gep(self._builder, view.data, offset)))

    def running_sums(self, count: int = _CHAINS) -> list[Any]:
        """Sums that take turns, so that one addition need not wait for the last."""
        return [cgutils.alloca_once_value(self._builder, self.zero) for _ in range(count)]

    def step(self) -> Any:
        """How far each coefficient would move, its sign left out; arguments as in `furthest`."""
        wanted = self._builder.fsub(self.load(self.address(0)), self.spread(4))
        code = self.load(self.address(2))
        move = self.larger(wanted, self._builder.fsub(self.zero, code))
        return self.larger(move, self._builder.fsub(self.zero, move))


@intrinsic
def subtract(_: Any, target: Any, t: Any, source: Any, s: Any, factor: Any) -> Any:
    """target[t:] −= factor · source[s:]."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        writer = _Writer(context, builder, signature, arguments)
        address = writer.address(0)
        product = builder.fmul(writer.load(writer.address(2)), writer.spread(4), flags=("fast",))
        writer.store(builder.fsub(writer.load(address), product, flags=("fast",)), address)
        return context.get_dummy_value()

    return types.void(target, types.uintp, source, types.uintp, target.dtype), write


@intrinsic
def inner(_: Any, a: Any, p: Any, apart: Any, b: Any, q: Any, rows: Any, vectors: Any) -> Any:
    """The inner product of rows of vectors: those of ``a`` begin so far apart, those of ``b`` follow each other."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        writer = _Writer(context, builder, signature, arguments)
        _, p0, apart, _, q0, rows, vectors = arguments
        sums = writer.running_sums()
        length = builder.mul(vectors, vectors.type(LANES))
        with cgutils.for_range(builder, rows) as row:
            begin_a = builder.add(p0, builder.mul(row.index, apart))
            begin_b = builder.add(q0, builder.mul(row.index, length))
            with cgutils.for_range(builder, vectors) as vector:
                offset = builder.mul(vector.index, vectors.type(LANES))
                x = writer.vector_at(0, builder.add(begin_a, offset))
                y = writer.vector_at(3, builder.add(begin_b, offset))
                values = [builder.load(sum_) for sum_ in sums]
                grown = builder.fadd(values[-1], builder.fmul(x, y, flags=("fast",)), flags=("fast",))
                for sum_, value in zip(sums, [grown, *values[:-1]], strict=True):
                    builder.store(value, sum_)
        first, *others = [builder.load(sum_) for sum_ in sums]
        for other in others:
            first = builder.fadd(first, other)
        return writer.sum(first)

    return a.dtype(a, types.uintp, types.uintp, b, types.uintp, types.uintp, types.uintp), write


@intrinsic
def project(
    _: Any, out: Any, o: Any, image: Any, p: Any, row: Any, step: Any, atoms: Any, a: Any, features: Any, rows: Any,
    length: Any,
) -> Any:  # fmt: skip
    """Inner products of ``LANES`` atoms with `POSITIONS` patches of an image, ``features`` apart in ``out[o:]``.

    A patch has ``rows`` rows of ``length`` numbers, ``row`` apart in the image; the patches begin at ``p`` and are
    ``step`` apart. ``atoms[a:]`` holds number after number of a patch, each for all ``features`` atoms.
    """

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        writer = _Writer(context, builder, signature, arguments)
        _, o, _, p, row, step, _, a, features, rows, length = arguments
        sums = writer.running_sums(POSITIONS)
        with cgutils.for_range(builder, rows) as y:
            patch_row = builder.add(p, builder.mul(y.index, row))
            atom_row = builder.add(a, builder.mul(builder.mul(y.index, length), features))
            with cgutils.for_range(builder, length) as x:
                atom = writer.vector_at(6, builder.add(atom_row, builder.mul(x.index, features)))
                for position, sum_ in enumerate(sums):
                    offset = builder.add(patch_row, builder.mul(step, step.type(position)))
                    number = writer.number_at(2, builder.add(offset, x.index))
                    product = builder.fmul(atom, number, flags=("fast",))
                    builder.store(builder.fadd(builder.load(sum_), product, flags=("fast",)), sum_)
        for position, sum_ in enumerate(sums):
            writer.put_at(builder.load(sum_), 0, builder.add(o, builder.mul(features, features.type(position))))
        return context.get_dummy_value()

    at = types.uintp
    return types.void(out, at, image, at, at, at, atoms, at, at, at, at), write


@intrinsic
def raise_to(_: Any, target: Any, t: Any, source: Any, s: Any) -> Any:
    """target[t:] = the larger of itself and source[s:]."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        writer = _Writer(context, builder, signature, arguments)
        address = writer.address(0)
        writer.store(writer.larger(writer.load(address), writer.load(writer.address(2))), address)
        return context.get_dummy_value()

    return types.void(target, types.uintp, source, types.uintp), write


@intrinsic
def movers(_: Any, correlations: Any, c: Any, codes: Any, r: Any, l1_weight: Any, threshold: Any) -> Any:
    """Which coefficients would move by more than the threshold: a set of bits, that of the first being 1.

    Up where β > λ + threshold; down where β < λ − threshold and the code is larger than the threshold.
    """

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        writer = _Writer(context, builder, signature, arguments)
        correlation, code = writer.load(writer.address(0)), writer.load(writer.address(2))
        l1_weight, threshold = writer.spread(4), writer.spread(5)
        up = builder.fcmp_ordered(">", correlation, builder.fadd(l1_weight, threshold))
        low = builder.fcmp_ordered("<", correlation, builder.fsub(l1_weight, threshold))
        down = builder.and_(low, builder.fcmp_ordered(">", code, threshold))
        return writer.bits(builder.or_(up, down))

    number = correlations.dtype
    return types.uint64(correlations, types.uintp, codes, types.uintp, number, number), write


@intrinsic
def furthest(_: Any, correlations: Any, c: Any, codes: Any, r: Any, l1_weight: Any) -> Any:
    """Which of these coefficients would move furthest, 0 to ``LANES`` − 1: from R to max(R + β − λ, 0)."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        writer = _Writer(context, builder, signature, arguments)
        step = writer.step()
        first = builder.fcmp_ordered("==", step, writer.largest(step))
        return builder.cttz(writer.bits(first), ir.IntType(1)(1))

    return types.uint64(correlations, types.uintp, codes, types.uintp, correlations.dtype), write
