// Small matrix products whose operands are in panels.
//
// A panel holds kPanel columns of a matrix, all rows of these columns after each other: the number
// at (row, column) is panels[(column / kPanel * rows + row) * kPanel + column % kPanel]. So a row
// of a panel is two registers, and every distance within a panel is known to the compiler.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vec.h"

namespace mmattn {
namespace deform {

template <typename A>
constexpr int64_t kPanel = 2 * kLanes<A>;
// Rows of a register tile: two registers each, and three are left for the factors.
constexpr int64_t kTileRows = kRegisters == 32 ? 14 : 6;
constexpr int64_t kTransposedRows = kRegisters == 32 ? 8 : 4;  // divides a panel
constexpr int64_t kTilePixels = 126;  // rows of the panels of a tile of output pixels
static_assert(kTilePixels % kTileRows == 0, "tiles consist of whole register tiles");

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

template <typename A>
int64_t panels(int64_t columns) {
  return ceil_div(columns, kPanel<A>);
}

// c[m][0..kPanel) += sum_k a[m * Row + k * Step] b[k][0..kPanel), m < R; k runs in pieces of kPanel
// that are `jump` apart in a. c has rows of kPanel.
template <typename A, int R, int64_t Row, int64_t Step>
__attribute__((noinline)) void multiply_tile(
    const A* a, int64_t jump, const A* b, int64_t depth, int64_t piece, A* c) {
  constexpr int L = kLanes<A>;
  Vec<A> left[R], right[R];
#pragma GCC unroll 32
  for (int m = 0; m < R; ++m) {
    left[m] = load<A>(c + m * 2 * L);
    right[m] = load<A>(c + m * 2 * L + L);
  }
  for (int64_t begin = 0; begin < depth; begin += piece, a += jump) {
    const int64_t count = std::min(piece, depth - begin);
    const A* from = a;
    for (int64_t k = 0; k < count; ++k, from += Step, b += 2 * L) {
      const Vec<A> b0 = load<A>(b), b1 = load<A>(b + L);
#pragma GCC unroll 32
      for (int m = 0; m < R; ++m) {
        const A value = from[m * Row];
        left[m] += value * b0;
        right[m] += value * b1;
      }
    }
  }
#pragma GCC unroll 32
  for (int m = 0; m < R; ++m) {
    store<A>(c + m * 2 * L, left[m]);
    store<A>(c + m * 2 * L + L, right[m]);
  }
}

// c (rows, columns) += a (rows, depth) b (depth, columns), all in panels: those of a and c have
// kTilePixels rows, of which the first `rows` (and some more, up to a register tile) are computed;
// those of b are b_panel numbers long.
template <typename A>
void multiply(
    const A* a, const A* b, int64_t b_panel, A* c, int64_t rows, int64_t depth, int64_t columns) {
  constexpr int64_t P = kPanel<A>;
  constexpr int64_t kDepth = 8 * P;  // rows that stay in L1
  for (int64_t k = 0; k < depth; k += kDepth) {
    const int64_t count = std::min(kDepth, depth - k);
    for (int64_t n = 0; n < panels<A>(columns); ++n) {
      for (int64_t m = 0; m < rows; m += kTileRows) {
        multiply_tile<A, kTileRows, P, 1>(
            a + k * kTilePixels + m * P, kTilePixels * P, b + n * b_panel + k * P, count, P,
            c + (n * kTilePixels + m) * P);
      }
    }
  }
}

// c (rows, columns) += a^T b with a (depth, rows) and b (depth, columns), all in panels: those of a
// and b have kTilePixels rows, those of c as many as `rows` rounded up to whole panels.
template <typename A>
void multiply_transposed(
    const A* a, const A* b, A* c, int64_t rows, int64_t depth, int64_t columns) {
  constexpr int64_t P = kPanel<A>;
  const int64_t c_rows = round_up(rows, P);
  for (int64_t n = 0; n < panels<A>(columns); ++n) {
    for (int64_t m = 0; m < rows; m += kTransposedRows) {
      multiply_tile<A, kTransposedRows, 1, P>(
          a + m / P * kTilePixels * P + m % P, 0, b + n * kTilePixels * P, depth, depth,
          c + (n * c_rows + m) * P);
    }
  }
}

}  // namespace deform
}  // namespace mmattn
