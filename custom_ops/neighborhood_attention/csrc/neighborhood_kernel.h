// Attention of each position to the nearest k x k ones, for channels-last maps. Does not use torch.
//
// With dilation, positions of equal residues form grids of their own, so only steps in memory
// differ. One task is some rows of one grid and head, and the rows of keys that they see, which are
// copied into dense rows and into rows of their transpose. It takes a few neighbouring queries of a
// row at once: their keys lie in few columns, a vector or two in each row of keys, so the logits
// are products on register tiles, of which those outside of a query's own window are then masked.
//
// Tasks share nothing but the gradients of keys, values and bias. Each adds up its own, and they
// are then summed in one order: results do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "exponential.h"
#include "scalar.h"
#include "small_products.h"
#include "vec.h"

namespace mmattn {
namespace neighborhood {

constexpr int64_t kMostQueries = 12;   // that are handled at once
constexpr int64_t kRows = 16;          // rows of queries of a task
constexpr int64_t kBytes = 1 << 20;    // of keys and values of a task, if possible
constexpr int64_t kQueriesInTile = 6;  // of a register tile, with kTileVectors vectors of keys
constexpr int64_t kMostLanes = 256;    // of the keys of a row

// One axis of a grid: `length` positions, of which each sees `kernel`, or all if there are fewer.
struct Axis {
  int64_t length, kernel;

  int64_t seen() const { return std::min(kernel, length); }
  int64_t first(int64_t p) const { return std::clamp<int64_t>(p - kernel / 2, 0, length - seen()); }
};

// A map (N, H, W, heads, channels) with neighbouring channels; steps in numbers.
template <typename S>
struct Map {
  S* data;
  int64_t n, y, x, head;
};

struct Problem {
  int64_t batch, height, width, heads, channels;
  int64_t kernel_y, kernel_x, dilation_y, dilation_x;
  double scale;

  // Positions of residue g.
  static int64_t members(int64_t length, int64_t dilation, int64_t g) {
    return g < length ? (length - g - 1) / dilation + 1 : 0;
  }
  int64_t rows() const { return members(height, dilation_y, 0); }  // of the largest grid
  int64_t columns() const { return members(width, dilation_x, 0); }
};

// How queries of a row are taken together, by the type that is computed in.
template <typename A>
struct Tile {
  int64_t vectors;  // of keys, in each row of keys
  int64_t queries;

  explicit Tile(int64_t kernel)
      : vectors(ceil_div(kernel + 5, kLanes<A>)),
        queries(std::min(kMostQueries, vectors * kLanes<A> - kernel + 1)) {}
  int64_t lanes() const { return vectors * kLanes<A>; }
};

// Some rows of queries of one grid, image and head.
struct Task {
  int64_t image, head, gy, gx, block;
  int64_t begin, end;       // rows of queries
  int64_t key_begin, keys;  // rows of keys
  Axis y, x;
};

// The tasks, in the order of the grids; their number does not depend on that of the threads.
template <typename A>
struct Plan {
  Problem p;
  int64_t rows_each, blocks;

  explicit Plan(const Problem& problem) : p(problem) {
    const int64_t row = p.columns() * p.channels * int64_t(2 * sizeof(A));
    const int64_t fitting = kBytes / std::max<int64_t>(row, 1) - p.kernel_y + 1;
    rows_each = std::clamp<int64_t>(fitting, 4, kRows);
    blocks = std::max<int64_t>(1, ceil_div(p.rows(), rows_each));
  }
  int64_t grids() const { return p.batch * p.heads * p.dilation_y * p.dilation_x; }
  int64_t count() const { return grids() * blocks; }
  int64_t most_keys() const { return std::min(p.rows(), rows_each + p.kernel_y - 1); }

  Task task(int64_t index) const {
    Task t;
    t.block = index % blocks;
    index /= blocks;
    t.gx = index % p.dilation_x;
    index /= p.dilation_x;
    t.gy = index % p.dilation_y;
    index /= p.dilation_y;
    t.head = index % p.heads;
    t.image = index / p.heads;
    t.y = {Problem::members(p.height, p.dilation_y, t.gy), p.kernel_y};
    t.x = {Problem::members(p.width, p.dilation_x, t.gx), p.kernel_x};
    t.begin = std::min(t.y.length, t.block * rows_each);
    t.end = t.x.length == 0 ? t.begin : std::min(t.y.length, t.begin + rows_each);
    t.key_begin = t.begin < t.end ? t.y.first(t.begin) : 0;
    t.keys = t.begin < t.end ? t.y.first(t.end - 1) + t.y.seen() - t.key_begin : 0;
    return t;
  }

  template <typename S>
  S* start(const Map<S>& m, const Task& t, int64_t row) const {
    return m.data + t.image * m.n + (row * p.dilation_y + t.gy) * m.y + t.gx * m.x +
        t.head * m.head;
  }
  template <typename S>
  int64_t step(const Map<S>& m) const {
    return p.dilation_x * m.x;
  }
};

// Bias (heads, 2 ky - 1, 2 kx - 1) with `margin` zeros on both sides of each row, so that a vector
// of it can be read or written at any place of a tile. Without a bias, all are zeros.
template <typename A>
struct Table {
  int64_t rows, columns, margin;

  Table(const Problem& p, int64_t lanes)
      : rows(2 * p.kernel_y - 1), columns(2 * p.kernel_x - 1), margin(lanes) {}
  int64_t width() const { return columns + 2 * margin; }
  int64_t size() const { return rows * width(); }

  std::vector<A> widened(const A* table, int64_t heads) const {
    std::vector<A> to(size_t(heads * size()), A(0));
    for (int64_t r = 0; table != nullptr && r < heads * rows; ++r) {
      std::copy(table + r * columns, table + (r + 1) * columns, to.data() + r * width() + margin);
    }
    return to;
  }
};

// A row of a map as dense rows of whole vectors.
template <typename S, typename A>
void pack_line(const S* from, int64_t step, int64_t count, int64_t channels, A scale, A* to) {
  constexpr int L = kLanes<A>;
  const int64_t padded = ceil_div(channels, L) * L;
  for (int64_t i = 0; i < count; ++i, from += step, to += padded) {
    int64_t c = 0;
    for (; c + L <= channels; c += L) widen_full(from + c, to + c);
    if (c < channels) widen_block(from + c, int(channels - c), L, to + c);
    if (scale != A(1)) {
      for (c = 0; c < padded; c += L) store(to + c, load(to + c) * scale);
    }
  }
}

// A row of a map as its transpose, (channels, columns) with zeros behind the last column.
template <typename S, typename A>
void pack_turned(
    const S* from, int64_t step, int64_t count, int64_t channels, int64_t columns, A* to) {
  constexpr int L = kLanes<A>;
  const auto row = [&](int64_t i) { return from + i * step; };
  for (int64_t i = 0; i < count; i += L) {
    const int rows = int(std::min<int64_t>(L, count - i));
    for (int64_t c = 0; c < channels; c += L) {
      const int lanes = int(std::min<int64_t>(L, channels - c));
      turn_square(row, i, rows, c, lanes, to + c * columns + i, columns);
    }
  }
  const int64_t filled = ceil_div(count, L) * L;
  for (int64_t c = 0; c < channels; ++c) {
    std::fill(to + c * columns + filled, to + (c + 1) * columns, A(0));
  }
}

// Products of R queries with V vectors of keys, each at keys[v] + c * step for channel c.
template <typename A, int R, int V>
MMATTN_INLINE void score_tile(
    const A* queries, int64_t query_step, const A* const* keys, int64_t step, int64_t channels,
    A* to, int64_t to_step) {
  constexpr int L = kLanes<A>;
  Vec<A> sum[R][V] = {};
  for (int64_t c = 0; c < channels; ++c) {
    Vec<A> key[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) key[v] = load(keys[v] + c * step);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      const A factor = queries[i * query_step + c];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[i][v] += key[v] * factor;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(to + i * to_step + v * L, sum[i][v]);
  }
}

template <typename A, int V>
__attribute__((noinline)) void score_rows(
    int64_t count, const A* queries, int64_t query_step, const A* const* keys, int64_t step,
    int64_t channels, A* to, int64_t to_step) {
  for (; count >= kQueriesInTile; count -= kQueriesInTile) {
    score_tile<A, int(kQueriesInTile), V>(queries, query_step, keys, step, channels, to, to_step);
    queries += kQueriesInTile * query_step;
    to += kQueriesInTile * to_step;
  }
  switch (count) {
    case 5: return score_tile<A, 5, V>(queries, query_step, keys, step, channels, to, to_step);
    case 4: return score_tile<A, 4, V>(queries, query_step, keys, step, channels, to, to_step);
    case 3: return score_tile<A, 3, V>(queries, query_step, keys, step, channels, to, to_step);
    case 2: return score_tile<A, 2, V>(queries, query_step, keys, step, channels, to, to_step);
    case 1: return score_tile<A, 1, V>(queries, query_step, keys, step, channels, to, to_step);
    default: return;
  }
}

// The queries of a row that are handled at once, and the columns of keys that they see.
struct Group {
  int64_t begin, count;         // queries
  int64_t column, columns;      // keys: the first, and how many
  int64_t row, rows;            // rows of keys, counted from the task's first
  int64_t first[kMostQueries];  // of each query's own columns, counted from `column`
  int64_t seen;                 // columns of each query

  Group(const Task& t, int64_t i, int64_t at, int64_t most)
      : begin(at),
        count(std::min(most, t.x.length - at)),
        column(t.x.first(at)),
        row(t.y.first(i) - t.key_begin),
        rows(t.y.seen()),
        seen(t.x.seen()) {
    for (int64_t q = 0; q < count; ++q) first[q] = t.x.first(at + q) - column;
    columns = first[count - 1] + seen;
  }
};

// What both passes do with the queries of a row.
template <typename A>
struct Lines {
  const Problem& p;
  const Tile<A> tile;
  const Table<A> table;
  int64_t padded, turned;  // numbers of a dense row, of a row of a transpose

  explicit Lines(const Problem& problem)
      : p(problem),
        tile(problem.kernel_x),
        table(problem, tile.lanes()),
        padded(ceil_div(problem.channels, kLanes<A>) * kLanes<A>),
        turned(ceil_div(problem.columns(), kLanes<A>) * kLanes<A> + tile.lanes()) {}

  int64_t turned_row() const { return p.channels * turned; }
  int64_t dense_row() const { return p.columns() * padded; }
  int64_t scores_row() const { return p.kernel_y * tile.lanes(); }

  // Products of each query with all keys that its group sees. `keys` are transposed rows.
  void score(const Group& g, const A* queries, const A* keys, A* to) const {
    const A* at[kTileVectors];
    const int64_t all = g.rows * tile.vectors, L = kLanes<A>;
    const A* query = queries + g.begin * padded;
    for (int64_t v = 0; v < all; v += kTileVectors) {
      const int64_t together = std::min<int64_t>(kTileVectors, all - v);
      for (int64_t w = 0; w < together; ++w) {
        const int64_t row = g.row + (v + w) / tile.vectors;
        at[w] = keys + row * turned_row() + g.column + (v + w) % tile.vectors * L;
      }
      A* target = to + v * L;
      const int64_t step = scores_row();
      if constexpr (kTileVectors > 2) {
        if (together == 4) {
          score_rows<A, 4>(g.count, query, padded, at, turned, p.channels, target, step);
          continue;
        }
        if (together == 3) {
          score_rows<A, 3>(g.count, query, padded, at, turned, p.channels, target, step);
          continue;
        }
      }
      if (together == 2) {
        score_rows<A, 2>(g.count, query, padded, at, turned, p.channels, target, step);
      } else {
        score_rows<A, 1>(g.count, query, padded, at, turned, p.channels, target, step);
      }
    }
  }

  // Where the bias of a query's keys in row `a` begins: (key - query) + kernel - 1 on each axis.
  int64_t bias_at(const Task& t, const Group& g, int64_t i, int64_t q, int64_t a) const {
    const int64_t y = t.key_begin + g.row + a - i + p.kernel_y - 1;
    const int64_t x = g.column - (g.begin + q) + p.kernel_x - 1;
    return y * table.width() + table.margin + x;
  }

  // Logits to weights that are 0 outside of each query's window; they sum to 1.
  void weigh(const Task& t, const Group& g, int64_t i, const A* bias, A* scores) const {
    constexpr int L = kLanes<A>;
    const Vec<A> never = Vec<A>{} - std::numeric_limits<A>::infinity();
    alignas(kVectorBytes) A outside[kMostLanes];
    for (int64_t q = 0; q < g.count; ++q) {
      mark_outside(g, q, outside);
      A* row = scores + q * scores_row();
      for (int64_t a = 0; a < g.rows; ++a) {
        const A* b = bias + bias_at(t, g, i, q, a);
        for (int64_t j = 0; j < tile.lanes(); j += L) {
          A* at = row + a * tile.lanes() + j;
          store(at, load(outside + j) > A(0) ? never : load(at) + load(b + j));
        }
      }
      const int64_t count = g.rows * tile.lanes();
      const A inverse = A(1) / exponentiate(row, count, std::numeric_limits<A>::lowest()).second;
      for (int64_t j = 0; j < count; j += L) store(row + j, load(row + j) * inverse);
    }
  }

  // Zeros in place of the products of a query with what is outside of its window.
  void clear_outside(const Group& g, int64_t q, A* row) const {
    constexpr int L = kLanes<A>;
    alignas(kVectorBytes) A outside[kMostLanes];
    mark_outside(g, q, outside);
    for (int64_t a = 0; a < g.rows; ++a) {
      for (int64_t j = 0; j < tile.lanes(); j += L) {
        A* at = row + a * tile.lanes() + j;
        store(at, load(outside + j) > A(0) ? Vec<A>{} : load(at));
      }
    }
  }

  // 1 for the columns of keys that a query does not see, 0 for its own. Products outside are chosen
  // away, not weighed by 0: that would leave an infinite one NaN.
  void mark_outside(const Group& g, int64_t q, A* outside) const {
    for (int64_t j = 0; j < tile.lanes(); ++j) {
      outside[j] = j >= g.first[q] && j < g.first[q] + g.seen ? A(0) : A(1);
    }
  }

  // Sums over the keys of one query, of dense rows of keys or values.
  void sum(const Group& g, int64_t q, const A* weights, const A* rows, A* to) const {
    constexpr int L = kLanes<A>;
    int64_t c = 0;
    for (; c + 2 * L <= padded; c += 2 * L) sum_vectors<2>(g, q, weights, rows + c, to + c);
    if (c < padded) sum_vectors<1>(g, q, weights, rows + c, to + c);
  }

  template <int V>
  void sum_vectors(const Group& g, int64_t q, const A* weights, const A* rows, A* to) const {
    constexpr int L = kLanes<A>;
    Vec<A> even[V] = {}, odd[V] = {};
    const A* row = weights + q * scores_row() + g.first[q];
    for (int64_t a = 0; a < g.rows; ++a) {
      const A* w = row + a * tile.lanes();
      const A* x = rows + (g.row + a) * dense_row() + (g.column + g.first[q]) * padded;
      int64_t b = 0;
      for (; b + 2 <= g.seen; b += 2, x += 2 * padded) {
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) {
          even[v] += load(x + v * L) * w[b];
          odd[v] += load(x + padded + v * L) * w[b + 1];
        }
      }
      if (b < g.seen) {
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) even[v] += load(x + v * L) * w[b];
      }
    }
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) store(to + v * L, even[v] + odd[v]);
  }

  // Adds to each key of the group the weighted sum of the queries that see it.
  void spread(const Group& g, const A* weights, const A* queries, A* rows) const {
    constexpr int L = kLanes<A>;
    int64_t c = 0;
    for (; c + 2 * L <= padded; c += 2 * L) spread_vectors<2>(g, weights, queries + c, rows + c);
    if (c < padded) spread_vectors<1>(g, weights, queries + c, rows + c);
  }

  template <int V>
  void spread_vectors(const Group& g, const A* weights, const A* queries, A* rows) const {
    constexpr int L = kLanes<A>;
    int64_t low = 0, high = 0;  // queries that see the column
    for (int64_t j = 0; j < g.columns; ++j) {
      while (high < g.count && g.first[high] <= j) ++high;
      while (low < high && g.first[low] + g.seen <= j) ++low;
      for (int64_t a = 0; a < g.rows; ++a) {
        A* to = rows + (g.row + a) * dense_row() + (g.column + j) * padded;
        const A* w = weights + a * tile.lanes() + j;
        Vec<A> total[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) total[v] = load(to + v * L);
        for (int64_t q = low; q < high; ++q) {
          const A factor = w[q * scores_row()];
          const A* x = queries + (g.begin + q) * padded;
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v) total[v] += load(x + v * L) * factor;
        }
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) store(to + v * L, total[v]);
      }
    }
  }
};

template <typename S>
struct Forward {
  using A = Compute<S>;
  const Plan<A>& plan;
  const Lines<A>& lines;
  Map<const S> query, key, value;
  const A* bias;  // of Table::widened
  Map<S> out;

  void run(const Task& t, Scratch& scratch) const {
    const Problem& p = plan.p;
    const int64_t length = t.x.length;
    scratch.reserve(
        Scratch::bytes<A>(t.keys * lines.turned_row()) +
        Scratch::bytes<A>(t.keys * lines.dense_row()) + Scratch::bytes<A>(lines.dense_row()) +
        Scratch::bytes<A>(kMostQueries * lines.scores_row()) + Scratch::bytes<A>(lines.padded));
    A* k = scratch.take<A>(t.keys * lines.turned_row());
    A* v = scratch.take<A>(t.keys * lines.dense_row());
    A* q = scratch.take<A>(lines.dense_row());
    A* scores = scratch.take<A>(kMostQueries * lines.scores_row());
    A* sums = scratch.take<A>(lines.padded);
    for (int64_t r = 0; r < t.keys; ++r) {
      pack_turned(
          plan.start(key, t, t.key_begin + r), plan.step(key), length, p.channels, lines.turned,
          k + r * lines.turned_row());
      pack_line(
          plan.start(value, t, t.key_begin + r), plan.step(value), length, p.channels, A(1),
          v + r * lines.dense_row());
    }
    const A* table = bias + t.head * lines.table.size();
    for (int64_t i = t.begin; i < t.end; ++i) {
      pack_line(plan.start(query, t, i), plan.step(query), length, p.channels, A(p.scale), q);
      for (int64_t at = 0; at < length; at += lines.tile.queries) {
        const Group g(t, i, at, lines.tile.queries);
        lines.score(g, q, k, scores);
        lines.weigh(t, g, i, table, scores);
        for (int64_t j = 0; j < g.count; ++j) {
          lines.sum(g, j, scores, v, sums);
          S* to = plan.start(out, t, i) + (at + j) * plan.step(out);
          for (int64_t c = 0; c < p.channels; ++c) narrow(sums[c], to[c]);
        }
      }
    }
  }
};

template <typename S>
struct Backward {
  using A = Compute<S>;
  const Plan<A>& plan;
  const Lines<A>& lines;
  Map<const S> query, key, value, grad;
  const A* bias;
  Map<S> grad_query;
  A *grad_key, *grad_value;  // of each task: (most_keys, columns, padded channels)
  A* grad_bias;              // of each task: as the table

  int64_t size() const { return plan.most_keys() * lines.dense_row(); }

  void run(int64_t index, const Task& t, Scratch& scratch) const {
    constexpr int L = kLanes<A>;
    const Problem& p = plan.p;
    const int64_t length = t.x.length, lanes = lines.tile.lanes();
    scratch.reserve(
        2 * Scratch::bytes<A>(t.keys * lines.turned_row()) +
        Scratch::bytes<A>(t.keys * lines.dense_row()) + 2 * Scratch::bytes<A>(lines.dense_row()) +
        2 * Scratch::bytes<A>(kMostQueries * lines.scores_row()) + Scratch::bytes<A>(lines.padded));
    A* k_turned = scratch.take<A>(t.keys * lines.turned_row());
    A* v_turned = scratch.take<A>(t.keys * lines.turned_row());
    A* k = scratch.take<A>(t.keys * lines.dense_row());
    A* q = scratch.take<A>(lines.dense_row());
    A* g_out = scratch.take<A>(lines.dense_row());
    A* weights = scratch.take<A>(kMostQueries * lines.scores_row());
    A* slopes = scratch.take<A>(kMostQueries * lines.scores_row());
    A* sums = scratch.take<A>(lines.padded);
    for (int64_t r = 0; r < t.keys; ++r) {
      const int64_t row = t.key_begin + r;
      pack_turned(
          plan.start(key, t, row), plan.step(key), length, p.channels, lines.turned,
          k_turned + r * lines.turned_row());
      pack_turned(
          plan.start(value, t, row), plan.step(value), length, p.channels, lines.turned,
          v_turned + r * lines.turned_row());
      pack_line(
          plan.start(key, t, row), plan.step(key), length, p.channels, A(1),
          k + r * lines.dense_row());
    }
    const A* table = bias + t.head * lines.table.size();
    A* of_key = grad_key + index * size();
    A* of_value = grad_value + index * size();
    A* of_bias = grad_bias + index * lines.table.size();
    for (int64_t i = t.begin; i < t.end; ++i) {
      pack_line(plan.start(query, t, i), plan.step(query), length, p.channels, A(p.scale), q);
      pack_line(plan.start(grad, t, i), plan.step(grad), length, p.channels, A(1), g_out);
      for (int64_t at = 0; at < length; at += lines.tile.queries) {
        const Group g(t, i, at, lines.tile.queries);
        lines.score(g, q, k_turned, weights);
        lines.weigh(t, g, i, table, weights);
        lines.score(g, g_out, v_turned, slopes);
        for (int64_t j = 0; j < g.count; ++j) {
          const A* weight = weights + j * lines.scores_row();
          A* slope = slopes + j * lines.scores_row();
          lines.clear_outside(g, j, slope);
          Vec<A> products{};
          for (int64_t l = 0; l < g.rows * lanes; l += L)
            products += load(weight + l) * load(slope + l);
          const A mean = sum_of<A>(products);
          for (int64_t a = 0; a < g.rows; ++a) {
            A* b = of_bias + lines.bias_at(t, g, i, j, a);
            for (int64_t l = 0; l < lanes; l += L) {
              A* s = slope + a * lanes + l;
              const Vec<A> of_logit = load(weight + a * lanes + l) * (load(s) - mean);
              store(s, of_logit);
              store(b + l, load(b + l) + of_logit);
            }
          }
          lines.sum(g, j, slopes, k, sums);
          S* to = plan.start(grad_query, t, i) + (at + j) * plan.step(grad_query);
          for (int64_t c = 0; c < p.channels; ++c) narrow(sums[c] * A(p.scale), to[c]);
        }
        lines.spread(g, weights, g_out, of_value);
        lines.spread(g, slopes, q, of_key);
      }
    }
  }

  // Writes one row of a gradient of keys or values, summed over the tasks that see it.
  void finish(int64_t grid, int64_t row, const A* from, const Map<S>& to) const {
    const Problem& p = plan.p;
    std::vector<A> total;
    Task last{};
    for (int64_t block = 0; block < plan.blocks; ++block) {
      const int64_t index = grid * plan.blocks + block;
      const Task t = plan.task(index);
      if (row < t.key_begin || row >= t.key_begin + t.keys) continue;
      const A* part = from + index * size() + (row - t.key_begin) * lines.dense_row();
      if (total.empty()) total.assign(size_t(t.x.length * lines.padded), A(0));
      for (size_t i = 0; i < total.size(); ++i) total[i] += part[i];
      last = t;
    }
    if (total.empty()) return;
    S* line = plan.start(to, last, row);
    for (int64_t j = 0; j < last.x.length; ++j) {
      for (int64_t c = 0; c < p.channels; ++c) {
        narrow(total[size_t(j * lines.padded + c)], line[j * plan.step(to) + c]);
      }
    }
  }
};

}  // namespace neighborhood
}  // namespace mmattn
