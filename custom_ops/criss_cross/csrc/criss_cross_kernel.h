// Criss-cross attention of channels-last images, line by line. Does not use torch.
//
// One task takes one line, a column or a row, of one image. It copies what it reads into dense
// panels and then multiplies small matrices on register tiles, all of it in the L2 cache:
//
//   forward   columns first: logits, their largest m and the sum l of their exponentials, and the
//             sum o of the values so weighted; rows then start from (m, l, o) and finish the
//             softmax.
//   backward  the weights are exp(logit - lse) for rows and columns alike, so each line adds its
//   part
//             to the gradients. Columns write them, rows add to them.
//
// Lines of one direction touch different outputs and are each computed by one thread: there are no
// atomics, and results do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "exponential.h"
#include "scalar.h"
#include "small_products.h"
#include "vec.h"

namespace mmattn {
namespace criss_cross {

constexpr int64_t kQueryBlock = 24 * kTileRows;  // queries of a line that are handled together

// A tensor (N, C, H, W) whose channels are neighbours in memory.
template <typename S>
struct Image {
  S* data;
  int64_t n, h, w;  // steps, in numbers
};

struct Line {
  bool column;
  int64_t n, index, length;

  template <typename S>
  S* start(const Image<S>& p) const {
    return p.data + n * p.n + index * (column ? p.w : p.h);
  }
  template <typename S>
  int64_t step(const Image<S>& p) const {
    return column ? p.h : p.w;
  }
};

// Asks for a line's channels in time; the last line has none after it.
template <typename S>
void prefetch(Ahead& ahead, const Line* line, const Image<const S>& p, int64_t channels) {
  if (line != nullptr) ahead.add(line->start(p), line->step(p), line->length, channels);
}

struct Sizes {
  int64_t query_channels, value_channels;
};

inline int64_t query_block(int64_t length) {
  return std::max<int64_t>(
      1, ceil_div(length, std::max<int64_t>(1, ceil_div(length, kQueryBlock))));
}

// The position itself belongs to the row; behind the last key there is nothing.
template <typename A>
void mask_scores(A* scores, int64_t rows, const Panels<A>& keys, int64_t first, bool itself) {
  constexpr A kNever = -std::numeric_limits<A>::infinity();
  for (int64_t i = 0; i < rows; ++i) {
    A* row = scores + i * keys.padded();
    std::fill(row + keys.count, row + keys.padded(), kNever);
    if (!itself) row[first + i] = kNever;
  }
}

template <typename S>
struct Forward {
  using A = Compute<S>;
  Sizes sizes;
  Image<const S> query, key, value;
  Image<A> out, lse;      // one channel: lse
  Image<A> shift, total;  // of the columns; one channel each

  // Columns leave sums that are not divided yet; rows take them up if there are any (`merge`).
  void run(const Line& line, const Line* next, bool merge, Scratch& scratch) const {
    const Panels<A> keys(line.length), qc(sizes.query_channels), vc(sizes.value_channels);
    const int64_t block = query_block(line.length);
    scratch.reserve(
        Scratch::bytes<A>(keys.padded() * qc.count) + Scratch::bytes<A>(keys.count * vc.padded()) +
        Scratch::bytes<A>(block * qc.padded()) + Scratch::bytes<A>(block * keys.padded()) +
        Scratch::bytes<A>(block));
    A* k = scratch.take<A>(keys.padded() * qc.count);
    A* v = scratch.take<A>(keys.count * vc.padded());
    A* q = scratch.take<A>(block * qc.padded());
    A* scores = scratch.take<A>(block * keys.padded());
    A* scale = scratch.take<A>(block);
    Ahead ahead;
    prefetch(ahead, next, value, vc.count);
    ahead.spread(line.length / kTileRows * vc.panels);
    pack_columns(line.start(key), line.step(key), keys, qc.count, k);
    pack_rows(line.start(value), line.step(value), keys.count, vc, v);
    for (int64_t first = 0; first < line.length; first += block) {
      const int64_t rows = std::min(block, line.length - first);
      pack_rows(line.start(query) + first * line.step(query), line.step(query), rows, qc, q);
      multiply_scores(rows, q, qc, k, keys, scores);
      mask_scores(scores, rows, keys, first, !line.column);
      for (int64_t i = 0; i < rows; ++i) {
        weigh(line, first + i, merge, scores + i * keys.padded(), keys.padded(), scale + i);
      }
      multiply_panels<false>(
          rows, scores, keys.padded(), keys.count, v, vc,
          Target<A>{
              line.start(out) + first * line.step(out), line.step(out), merge,
              merge ? scale : nullptr, &ahead});
    }
  }

  // Logits of one query to weights; `scale` is for the sums that the column left.
  void weigh(const Line& line, int64_t i, bool merge, A* row, int64_t count, A* scale) const {
    A& column_shift = line.start(shift)[i * line.step(shift)];
    A& column_total = line.start(total)[i * line.step(total)];
    const A least = merge ? column_shift : std::numeric_limits<A>::lowest();
    const auto [most, sum] = exponentiate(row, count, least);
    if (line.column) {
      column_shift = most;
      column_total = sum;
      return;
    }
    const A rescale = merge ? std::exp(column_shift - most) : A(0);
    const A all = sum + (merge ? column_total * rescale : A(0));
    line.start(lse)[i * line.step(lse)] = most + std::log(all);
    *scale = rescale / all;
    const A inverse = A(1) / all;
    for (int64_t j = 0; j < count; j += kLanes<A>) store(row + j, load(row + j) * inverse);
  }
};

template <typename S>
struct Backward {
  using A = Compute<S>;
  Sizes sizes;
  Image<const S> query, key, value, out, grad;
  Image<const A> lse, grad_lse;  // grad_lse may be null
  Image<A> delta;                // sum over the channels of grad x out, less grad_lse
  Image<A> grad_query, grad_key, grad_value;

  // The first direction writes the gradients and delta, the second adds to them.
  void run(const Line& line, const Line* next, bool add, Scratch& scratch) const {
    const Panels<A> keys(line.length), qc(sizes.query_channels), vc(sizes.value_channels);
    const int64_t block = query_block(line.length), length = line.length;
    scratch.reserve(
        Scratch::bytes<A>(keys.padded() * qc.count) + Scratch::bytes<A>(length * qc.padded()) +
        Scratch::bytes<A>(keys.padded() * vc.count) + Scratch::bytes<A>(block * qc.padded()) +
        Scratch::bytes<A>(block * vc.padded()) + 2 * Scratch::bytes<A>(block * keys.padded()));
    A* k_turned = scratch.take<A>(keys.padded() * qc.count);
    A* k = scratch.take<A>(length * qc.padded());
    A* v_turned = scratch.take<A>(keys.padded() * vc.count);
    A* q = scratch.take<A>(block * qc.padded());
    A* g = scratch.take<A>(block * vc.padded());
    A* weights = scratch.take<A>(block * keys.padded());
    A* grads = scratch.take<A>(block * keys.padded());
    Ahead ahead;
    prefetch(ahead, next, value, vc.count);
    prefetch(ahead, next, grad, vc.count);
    if (!add) prefetch(ahead, next, out, vc.count);
    ahead.spread(length / kTileRows * vc.panels * (1 + keys.panels));
    pack_columns(line.start(key), line.step(key), keys, qc.count, k_turned);
    pack_rows(line.start(key), line.step(key), length, qc, k);
    pack_columns(line.start(value), line.step(value), keys, vc.count, v_turned);
    for (int64_t first = 0; first < length; first += block) {
      const int64_t rows = std::min(block, length - first);
      pack_rows(line.start(query) + first * line.step(query), line.step(query), rows, qc, q);
      pack_rows(line.start(grad) + first * line.step(grad), line.step(grad), rows, vc, g);
      multiply_scores(rows, q, qc, k_turned, keys, weights);
      mask_scores(weights, rows, keys, first, !line.column);
      multiply_scores(rows, g, vc, v_turned, keys, grads, &ahead);
      for (int64_t i = 0; i < rows; ++i) {
        differentiate(
            line, first + i, add, weights + i * keys.padded(), grads + i * keys.padded(),
            keys.padded());
      }
      const bool more = add || first > 0;
      multiply_panels<true>(
          length, weights, keys.padded(), rows, g, vc,
          Target<A>{line.start(grad_value), line.step(grad_value), more, nullptr, &ahead});
      multiply_panels<true>(
          length, grads, keys.padded(), rows, q, qc,
          Target<A>{line.start(grad_key), line.step(grad_key), more, nullptr, nullptr});
      multiply_panels<false>(
          rows, grads, keys.padded(), length, k, qc,
          Target<A>{
              line.start(grad_query) + first * line.step(grad_query), line.step(grad_query), add,
              nullptr, nullptr});
    }
  }

  // Logits of one query to weights, and gradients of its weights to gradients of its logits.
  void differentiate(
      const Line& line, int64_t i, bool add, A* weights, A* grads, int64_t count) const {
    A& d = line.start(delta)[i * line.step(delta)];
    if (!add) {
      d = dot<S>(
          line.start(grad) + i * line.step(grad), line.start(out) + i * line.step(out),
          sizes.value_channels);
      if (grad_lse.data != nullptr) d -= line.start(grad_lse)[i * line.step(grad_lse)];
    }
    const A shift = line.start(lse)[i * line.step(lse)], offset = d;
    for (int64_t j = 0; j < count; j += kLanes<A>) {
      const Vec<A> w = exponential<A>(load(weights + j) - shift);
      store(weights + j, w);
      store(grads + j, w * (load(grads + j) - offset));
    }
  }
};

}  // namespace criss_cross
}  // namespace mmattn
