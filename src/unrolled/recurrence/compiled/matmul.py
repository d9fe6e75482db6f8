"""The recurrent product, compiled: a few columns times a packed weight matrix, at the processor's full rate.

Inside the loop over time each product is small (a handful of columns) and the matrix is the same at every step; general
libraries reach two thirds of the processor's rate there. Here the matrix is packed once per window, into panels that
are read front to back, and a tile of the result stays in registers while a panel streams past:

    inputs [columns, K]        panels [N / 16, K, 16]               outputs [columns, N]

    x0 . . . . . .             16 columns of W, k by k     ->       x0 W [16] ..      up to 6 columns at a time:
    x1 . . . . . .             |_|_|_|_|_|_|_|_|_|_|_|              x1 W [16] ..      12 registers of 8 sums

Every sum runs over k in order, whichever columns share a tile, so the bytes do not depend on the number of threads.
Numba compiles this at first use; the user needs no compiler.
"""

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES, VECTORS = 8, 2  # float32 in a register of 256 bits; two of them a column
WIDTH = LANES * VECTORS  # columns of a panel
COLUMNS = 6  # of inputs in a tile: 6 x 2 sums, two parts of the panel and one input fill 15 of 16 registers

_REGISTER = ir.VectorType(ir.FloatType(), LANES)


@intrinsic(prefer_literal=True)
def _multiply_tile(
    typingctx: Any, columns: Any, inputs: Any, panels: Any, outputs: Any, column: Any, panel: Any
) -> Any:
    """outputs[column:column+columns, panel] = inputs[column:column+columns] @ panels[panel]; `columns` is a literal.

    Written in LLVM's own terms, as LLVM does not get to this form from loops over arrays.
    """
    count = columns.literal_value
    signature = types.void(columns, inputs, panels, outputs, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_inputs, of_panels, of_outputs = (
            context.make_array(kind)(context, builder, array)
            for kind, array in zip(signature.args[1:4], arguments[1:4], strict=True)
        )
        first, panel = arguments[4:]

        def number(value: int) -> Any:
            return ir.Constant(panel.type, value)

        def row(array: Any, offset: int) -> Any:
            stride = builder.udiv(cgutils.unpack_tuple(builder, array.strides)[0], number(4))
            return builder.gep(array.data, [builder.mul(stride, builder.add(first, number(offset)))])

        def register(start: Any, index: int) -> Any:
            return builder.bitcast(builder.gep(start, [number(index * LANES)]), _REGISTER.as_pointer())

        depth = cgutils.unpack_tuple(builder, of_panels.shape)[1]
        weights = builder.gep(of_panels.data, [builder.mul(builder.mul(panel, depth), number(WIDTH))])
        rows = [row(of_inputs, offset) for offset in range(count)]
        zeros = ir.Constant(_REGISTER, None)
        sums = [[cgutils.alloca_once_value(builder, zeros) for _ in range(VECTORS)] for _ in rows]
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_REGISTER, [_REGISTER] * 3), f"llvm.fmuladd.v{LANES}f32"
        )
        with cgutils.for_range(builder, depth) as loop:
            here = builder.gep(weights, [builder.mul(loop.index, number(WIDTH))])
            parts = [builder.load(register(here, index), align=4) for index in range(VECTORS)]
            for of_row, row_sums in zip(rows, sums, strict=True):
                single = builder.load(builder.gep(of_row, [loop.index]))
                spread = _spread(builder, single)
                for part, place in zip(parts, row_sums, strict=True):
                    builder.store(builder.call(multiply_add, [spread, part, builder.load(place)]), place)
        for offset, row_sums in enumerate(sums):
            start = builder.gep(row(of_outputs, offset), [builder.mul(panel, number(WIDTH))])
            for index, place in enumerate(row_sums):
                builder.store(builder.load(place), register(start, index), align=4)
        return context.get_dummy_value()

    return signature, generate


def _spread(builder: Any, single: Any) -> Any:
    """One number in all lanes of a register."""
    empty, index = ir.Constant(_REGISTER, ir.Undefined), ir.IntType(32)
    lane = builder.insert_element(empty, single, ir.Constant(index, 0))
    return builder.shuffle_vector(lane, empty, ir.Constant(ir.VectorType(index, LANES), [0] * LANES))


@njit(error_model="numpy")
def multiply(inputs, panels, outputs, first, last):
    """outputs[first:last] = inputs[first:last] @ the packed matrix; outputs [columns, panels x 16]."""
    for panel in range(panels.shape[0]):
        column = first
        while column < last:
            left = last - column
            count = -(-left // -(-left // COLUMNS))  # so that tiles are of about one size
            if count == 6:
                _multiply_tile(6, inputs, panels, outputs, column, panel)
            elif count == 5:
                _multiply_tile(5, inputs, panels, outputs, column, panel)
            elif count == 4:
                _multiply_tile(4, inputs, panels, outputs, column, panel)
            elif count == 3:
                _multiply_tile(3, inputs, panels, outputs, column, panel)
            elif count == 2:
                _multiply_tile(2, inputs, panels, outputs, column, panel)
            else:
                _multiply_tile(1, inputs, panels, outputs, column, panel)
            column += count


@njit(error_model="numpy")
def pack_panel(weight, transposed, panels, panel):
    """One panel of weight, or of its transpose; columns beyond the matrix are zeros."""
    start = panel * WIDTH
    if transposed:  # panel[k, j] = weight[start + j, k]
        for j in range(WIDTH):
            for k in range(panels.shape[1]):
                panels[panel, k, j] = weight[start + j, k] if start + j < weight.shape[0] else 0.0
    else:
        for k in range(panels.shape[1]):
            for j in range(WIDTH):
                panels[panel, k, j] = weight[k, start + j] if start + j < weight.shape[1] else 0.0
