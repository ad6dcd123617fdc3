// Attention within the windows of a channels-last map of queries, keys and values. Does not use
// torch.
//
// One task is one window and one head. Its tokens are gathered from where they lie in the map, so
// that padding, rolling and cutting into windows copy nothing; the products run on register tiles,
// and the n x n weights never leave the L1 or L2 cache. The backward pass computes them once more.
// Nothing is shared by two tasks but the gradients of bias and padding, which are summed in a fixed
// number of groups: results do not depend on the number of threads.
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
namespace window_attention {

constexpr int64_t kPadding = -1;         // source of a token that is not in the map
constexpr int64_t kGroups = 16;          // partial sums of the gradients of bias and padding
constexpr double kOtherRegion = -100.0;  // what Swin adds to logits across a border of the map

// One axis of the map, padded to whole windows and rolled by `shift`.
struct Axis {
  int64_t size, window, shift;
  bool pad_first;  // whether the padding is rolled too

  int64_t windows() const { return ceil_div(size, window); }
  int64_t padded() const { return windows() * window; }
  // Where position i of the padded and rolled axis comes from.
  int64_t source(int64_t i) const {
    if (!pad_first) return i < size ? (i + shift) % size : kPadding;
    const int64_t from = (i + shift) % padded();
    return from < size ? from : kPadding;
  }
  // Rolled axes meet themselves in the last window, `shift` positions before its end.
  bool meets_itself(int64_t index) const { return shift > 0 && index == windows() - 1; }
  bool wrapped(int64_t i) const { return shift > 0 && i >= padded() - shift; }
};

struct Problem {
  int64_t batch, heads, channels;  // channels of one head
  Axis y, x;
  double scale;

  int64_t tokens() const { return y.window * x.window; }
  int64_t windows() const { return batch * y.windows() * x.windows(); }
  int64_t width() const { return heads * channels; }
};

// Rows to panels, as pack_rows, from rows anywhere in memory.
template <typename A, typename Row>
void gather_rows(const Row& row_of, int64_t rows, const Panels<A>& channels, A scale, A* to) {
  constexpr int L = kLanes<A>;
  for (int64_t i = 0; i < rows; ++i) {
    const auto* from = row_of(i);
    for (int64_t p = 0; p < channels.panels; ++p) {
      const int64_t begin = channels.begin(p), width = channels.width(p), valid = channels.valid(p);
      A* row = to + begin * rows + i * width;
      int64_t c = 0;
      for (; c + L <= valid; c += L) widen_full(from + begin + c, row + c);
      if (c < width) widen_block(from + begin + c, int(valid - c), L, row + c);
      if (scale != A(1)) {
        for (c = 0; c < width; c += L) store(row + c, load(row + c) * scale);
      }
    }
  }
}

// Rows to panels of their transpose, as pack_columns, from rows anywhere in memory.
template <typename A, typename Row>
void gather_columns(const Row& row_of, const Panels<A>& rows, int64_t channels, A* to) {
  constexpr int L = kLanes<A>;
  for (int64_t p = 0; p < rows.panels; ++p) {
    const int64_t begin = rows.begin(p), width = rows.width(p);
    A* panel = to + begin * channels;
    for (int64_t i = begin; i < begin + width; i += L) {
      const int count = int(std::min<int64_t>(L, rows.count - i));
      for (int64_t c = 0; c < channels; c += L) {
        const int lanes = int(std::min<int64_t>(L, channels - c));
        turn_square(row_of, i, count, c, lanes, panel + c * width + (i - begin), width);
      }
    }
  }
}

// The tokens of one window, in the order of its rows.
template <typename A>
struct Window {
  std::vector<int64_t> source;   // pixel of the batch, or kPadding
  std::vector<int64_t> queries;  // tokens that are in the map: nobody asks for the others' output
  std::vector<A> region;         // tokens of different regions are apart in the map
  bool regions = false;          // whether there are several

  void set(const Problem& p, int64_t index) {
    const int64_t columns = p.x.windows(), rows = p.y.windows();
    const int64_t image = index / (rows * columns), wy = index / columns % rows,
                  wx = index % columns;
    const Panels<A> keys(p.tokens());
    source.resize(size_t(p.tokens()));
    region.assign(size_t(keys.padded()), A(0));
    queries.clear();
    regions = p.y.meets_itself(wy) || p.x.meets_itself(wx);
    int64_t token = 0;
    for (int64_t a = 0; a < p.y.window; ++a) {
      const int64_t i = wy * p.y.window + a, y = p.y.source(i);
      for (int64_t b = 0; b < p.x.window; ++b, ++token) {
        const int64_t j = wx * p.x.window + b, x = p.x.source(j);
        const bool inside = y != kPadding && x != kPadding;
        source[size_t(token)] = inside ? (image * p.y.size + y) * p.x.size + x : kPadding;
        region[size_t(token)] = A(2 * p.y.wrapped(i) + p.x.wrapped(j));
        if (inside) queries.push_back(token);
      }
    }
  }
};

// Bias (heads, n, n), each row followed by -inf up to whole vectors.
template <typename A>
std::vector<A> padded_bias(const A* bias, int64_t heads, int64_t tokens) {
  const int64_t padded = Panels<A>(tokens).padded();
  std::vector<A> rows(size_t(heads * tokens * padded), -std::numeric_limits<A>::infinity());
  for (int64_t i = 0; i < heads * tokens; ++i) {
    std::copy(bias + i * tokens, bias + (i + 1) * tokens, rows.data() + i * padded);
  }
  return rows;
}

// What both passes read.
template <typename S>
struct Inputs {
  using A = Compute<S>;
  Problem p;
  const S* qkv;   // (batch, H, W, 3, heads, channels)
  const A* bias;  // of padded_bias
  const S* pad;   // (3, heads, channels): queries, keys and values of padded tokens

  const S* row(const Window<A>& w, int64_t token, int64_t part, int64_t head) const {
    const int64_t from = w.source[size_t(token)], at = (part * p.heads + head) * p.channels;
    return from == kPadding ? pad + at : qkv + from * 3 * p.width() + at;
  }

  // Logits to exp(logit - their maximum), and the inverse of each row's sum.
  void weigh(const Window<A>& w, int64_t head, A* scores, A* inverse) const {
    constexpr int L = kLanes<A>;
    const int64_t n = p.tokens(), padded = Panels<A>(n).padded();
    for (size_t i = 0; i < w.queries.size(); ++i) {
      A* row = scores + int64_t(i) * padded;
      const A* b = bias + (head * n + w.queries[i]) * padded;
      for (int64_t j = 0; j < padded; j += L) store(row + j, load(row + j) + load(b + j));
      if (w.regions) {
        const A own = w.region[size_t(w.queries[i])];
        for (int64_t j = 0; j < padded; ++j) {
          row[j] += w.region[size_t(j)] == own ? A(0) : A(kOtherRegion);
        }
      }
      inverse[i] = A(1) / exponentiate(row, padded, std::numeric_limits<A>::lowest()).second;
    }
  }
};

template <typename S>
struct Forward {
  using A = Compute<S>;
  Inputs<S> in;
  S* out;  // (batch, H, W, heads, channels)

  void run(const Window<A>& w, int64_t head, Scratch& scratch) const {
    const Problem& p = in.p;
    const int64_t n = p.tokens(), count = int64_t(w.queries.size());
    const Panels<A> keys(n), channels(p.channels);
    const int64_t row = channels.padded();
    scratch.reserve(
        Scratch::bytes<A>(keys.padded() * p.channels) + 3 * Scratch::bytes<A>(n * row) +
        Scratch::bytes<A>(n * keys.padded()) + Scratch::bytes<A>(n));
    A* k = scratch.take<A>(keys.padded() * p.channels);
    A* v = scratch.take<A>(n * row);
    A* q = scratch.take<A>(n * row);
    A* sums = scratch.take<A>(n * row);
    A* scores = scratch.take<A>(n * keys.padded());
    A* inverse = scratch.take<A>(n);
    gather_rows(
        [&](int64_t i) { return in.row(w, w.queries[size_t(i)], 0, head); }, count, channels,
        A(p.scale), q);
    gather_columns([&](int64_t i) { return in.row(w, i, 1, head); }, keys, p.channels, k);
    gather_rows([&](int64_t i) { return in.row(w, i, 2, head); }, n, channels, A(1), v);
    multiply_scores(count, q, channels, k, keys, scores);
    in.weigh(w, head, scores, inverse);
    multiply_panels<false>(
        count, scores, keys.padded(), n, v, channels,
        Target<A>{sums, row, false, nullptr, nullptr});
    for (int64_t i = 0; i < count; ++i) {
      const int64_t pixel = w.source[size_t(w.queries[size_t(i)])];
      S* to = out + pixel * p.width() + head * p.channels;
      for (int64_t c = 0; c < p.channels; ++c) narrow(sums[i * row + c] * inverse[i], to[c]);
    }
  }
};

template <typename S>
struct Backward {
  using A = Compute<S>;
  Inputs<S> in;
  const S* grad;  // (batch, H, W, heads, channels)
  S* grad_qkv;
  A* grad_bias;  // (groups, heads, n, padded n): partial sums
  A* grad_pad;   // (groups, 3, heads, channels)

  void run(const Window<A>& w, int64_t head, int64_t group, Scratch& scratch) const {
    constexpr int L = kLanes<A>;
    const Problem& p = in.p;
    const int64_t n = p.tokens(), count = int64_t(w.queries.size());
    const Panels<A> keys(n), channels(p.channels);
    const int64_t row = channels.padded(), padded = keys.padded();
    scratch.reserve(
        2 * Scratch::bytes<A>(padded * p.channels) + 6 * Scratch::bytes<A>(n * row) +
        2 * Scratch::bytes<A>(n * padded) + Scratch::bytes<A>(n));
    A* k_turned = scratch.take<A>(padded * p.channels);
    A* v_turned = scratch.take<A>(padded * p.channels);
    A* k = scratch.take<A>(n * row);
    A* q = scratch.take<A>(n * row);
    A* g = scratch.take<A>(n * row);
    A* of_query = scratch.take<A>(n * row);
    A* of_key = scratch.take<A>(n * row);
    A* of_value = scratch.take<A>(n * row);
    A* weights = scratch.take<A>(n * padded);
    A* grads = scratch.take<A>(n * padded);
    A* inverse = scratch.take<A>(n);
    const auto query = [&](int64_t i) { return in.row(w, w.queries[size_t(i)], 0, head); };
    const auto key = [&](int64_t i) { return in.row(w, i, 1, head); };
    const auto value = [&](int64_t i) { return in.row(w, i, 2, head); };
    const auto output = [&](int64_t i) {
      return grad + w.source[size_t(w.queries[size_t(i)])] * p.width() + head * p.channels;
    };
    gather_rows(query, count, channels, A(p.scale), q);
    gather_rows(key, n, channels, A(1), k);
    gather_rows(output, count, channels, A(1), g);
    gather_columns(key, keys, p.channels, k_turned);
    gather_columns(value, keys, p.channels, v_turned);
    multiply_scores(count, q, channels, k_turned, keys, weights);
    in.weigh(w, head, weights, inverse);
    multiply_scores(count, g, channels, v_turned, keys, grads);
    for (int64_t i = 0; i < count; ++i) {
      A *weight = weights + i * padded, *slope = grads + i * padded;
      A* bias = grad_bias + ((group * p.heads + head) * n + w.queries[size_t(i)]) * padded;
      Vec<A> products{};
      for (int64_t j = 0; j < padded; j += L) {
        const Vec<A> normal = load(weight + j) * inverse[i];
        store(weight + j, normal);
        products += normal * load(slope + j);
      }
      const A mean = sum_of<A>(products);
      for (int64_t j = 0; j < padded; j += L) {
        const Vec<A> of_logit = load(weight + j) * (load(slope + j) - mean);
        store(slope + j, of_logit);
        store(bias + j, load(bias + j) + of_logit);
      }
    }
    const auto target = [&](A* to) { return Target<A>{to, row, false, nullptr, nullptr}; };
    multiply_panels<true>(n, weights, padded, count, g, channels, target(of_value));
    multiply_panels<true>(n, grads, padded, count, q, channels, target(of_key));
    multiply_panels<false>(count, grads, padded, n, k, channels, target(of_query));
    for (int64_t i = 0; i < count; ++i) {
      put(w, w.queries[size_t(i)], 0, head, group, of_query + i * row, A(p.scale));
    }
    for (int64_t i = 0; i < n; ++i) {
      put(w, i, 1, head, group, of_key + i * row, A(1));
      put(w, i, 2, head, group, of_value + i * row, A(1));
    }
  }

  // Writes the gradient of a token of the map, and adds up those of padded tokens.
  void put(
      const Window<A>& w, int64_t token, int64_t part, int64_t head, int64_t group, const A* from,
      A scale) const {
    const Problem& p = in.p;
    const int64_t pixel = w.source[size_t(token)], at = (part * p.heads + head) * p.channels;
    if (pixel != kPadding) {
      S* to = grad_qkv + pixel * 3 * p.width() + at;
      for (int64_t c = 0; c < p.channels; ++c) narrow(from[c] * scale, to[c]);
    } else if (in.pad != nullptr) {
      A* to = grad_pad + group * 3 * p.width() + at;
      for (int64_t c = 0; c < p.channels; ++c) to[c] += from[c] * scale;
    }
  }
};

}  // namespace window_attention
}  // namespace mmattn
