// mmattn_cpp::gated_channel_pool and its backward.
//
// Of a contiguous image some neighbouring pixels are taken at once, channel after channel; of a
// channels-last one pixel after pixel. The backward pass sums the gate's gradient plane by plane,
// or over parts of some pixels, which are added in order: parts depend on the size alone, so
// results do not change with the number of threads.
#include <tuple>

#include "image.h"
#include "lines.h"

namespace mmattn {
namespace gated_channel_pool {
namespace {

constexpr const char* kOp = "gated_channel_pool";
constexpr int64_t kPart = 256;    // pixels of a channels-last image
constexpr int64_t kAtOnce = 512;  // pixels of a contiguous one
constexpr int64_t kTogether = 4;  // channels, in the backward pass

// Maximum, mean and index of each pixel of one image.
template <typename A>
struct Result {
  A *maximum, *mean;
  int32_t* index;
};

// Pixels from `begin` of a contiguous image.
template <typename S, typename A = Compute<S>>
void reduce_pixels(
    const S* x, const A* gate, const Shape& shape, int64_t begin, int64_t count,
    const Result<A>& result) {
  constexpr int kLines = 4;
  constexpr bool kWiden = !std::is_same<S, A>::value;
  A sums[kAtOnce], maxima[kAtOnce], scratch[kWiden ? kLines * kAtOnce : 1];
  Integer<A> indices[kAtOnce];
  const Accumulators<A> total{sums, maxima, indices};
  total.clear(count);
  const int64_t pixels = shape.pixels(), step = kWiden ? kAtOnce : pixels;
  auto lines = [&](int64_t channel, int number) {
    const A* found = nullptr;
    for (int i = number - 1; i >= 0; --i) {
      found = widened(x + (channel + i) * pixels + begin, count, scratch + (kWiden ? i * step : 0));
    }
    return found;
  };
  int64_t c = 0;
  for (; c + kLines <= shape.c; c += kLines) {
    total.template add<kLines, true>(lines(c, kLines), step, gate + c, Integer<A>(c), count);
  }
  for (; c < shape.c; ++c) {
    total.template add<1, true>(lines(c, 1), step, gate + c, Integer<A>(c), count);
  }
  for (int64_t i = 0; i < count; ++i) {
    if (sums[i] != sums[i]) {  // perhaps a NaN, which comparisons do not see
      for (c = shape.c - 1; c >= 0; --c) {
        const A value = A(widen(x[c * pixels + begin + i])) * gate[c];
        if (value == value) continue;
        maxima[i] = value;
        indices[i] = Integer<A>(c);
      }
    }
    result.maximum[begin + i] = maxima[i];
    result.mean[begin + i] = sums[i] / A(shape.c);
    result.index[begin + i] = int32_t(indices[i]);
  }
}

// One pixel of a channels-last image.
template <typename S, typename A = Compute<S>>
void reduce_pixel(
    const S* x, const A* gate, const Shape& shape, int64_t pixel, const Result<A>& result) {
  A scratch[kChunk];
  Total<A> total;
  for (int64_t begin = 0; begin < shape.c; begin += kChunk) {
    const int64_t count = std::min(kChunk, shape.c - begin);
    const A* line = widened(x + pixel * shape.c + begin, count, scratch);
    total.template add_line<true>(line, gate + begin, count, begin);
  }
  result.maximum[pixel] = total.maximum;
  result.mean[pixel] = A(total.sum / double(shape.c));
  result.index[pixel] = int32_t(total.index);
}

void check(const Shape& shape) {
  STD_TORCH_CHECK(
      shape.c > 0 && shape.c <= INT32_MAX, kOp, ": there must be channels, and not over 2^31");
}

std::tuple<Tensor, Tensor> forward(const Tensor& input, const Tensor& gate_in) {
  const Tensor x = dense(kOp, "x", input);
  const Shape shape(x);
  check(shape);
  const ScalarType wide = accumulate_type(x.scalar_type());
  const Tensor gate = small(kOp, "gate", gate_in, wide, {shape.n, shape.c});
  Tensor out = empty({shape.n, 2, shape.h, shape.w}, wide, false, x);
  Tensor index = empty({shape.n, shape.h, shape.w}, ScalarType::Int, false, x);
  if (index.numel() == 0) return {out, index};
  dispatch(kOp, x.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    using A = Compute<S>;
    const int64_t pixels = shape.pixels(), tasks = ceil_div(pixels, kAtOnce);
    const S* numbers = static_cast<const S*>(x.const_data_ptr());
    const A* gates = static_cast<const A*>(gate.const_data_ptr());
    auto result = [&](int64_t n) {
      A* to = static_cast<A*>(out.mutable_data_ptr()) + n * 2 * pixels;
      int32_t* first = static_cast<int32_t*>(index.mutable_data_ptr()) + n * pixels;
      return Result<A>{to, to + pixels, first};
    };
    if (shape.channels_last) {
      return parallel(shape.n * pixels, shape.c, [&](int64_t i) {
        const int64_t n = i / pixels;
        reduce_pixel(
            numbers + n * pixels * shape.c, gates + n * shape.c, shape, i % pixels, result(n));
      });
    }
    parallel(shape.n * tasks, kAtOnce * shape.c, [&](int64_t task) {
      const int64_t n = task / tasks, begin = task % tasks * kAtOnce;
      reduce_pixels(
          numbers + n * pixels * shape.c, gates + n * shape.c, shape, begin,
          std::min(kAtOnce, pixels - begin), result(n));
    });
  });
  return {out, index};
}

// Inputs and results of the backward pass; gradients that are not needed are null.
template <typename S, typename A = Compute<S>>
struct Backward {
  Shape shape;
  const A* grad;  // of maximum and mean
  const S* x;
  const A* gate;
  const int32_t* index;
  S* grad_x;
  A* grad_gate;

  const A* of_maximum(int64_t n) const { return grad + n * 2 * shape.pixels(); }
  const A* of_mean(int64_t n) const { return of_maximum(n) + shape.pixels(); }

  // Gradients of some channels of a contiguous image, which take turns while the numbers that they
  // share are in L1.
  void planes(int64_t n, int64_t begin, int64_t end) const {
    double totals[kTogether] = {};
    for (int64_t pixel = 0; pixel < shape.pixels(); pixel += kChunk) {
      const int64_t count = std::min(kChunk, shape.pixels() - pixel);
      for (int64_t c = begin; c < end; ++c) totals[c - begin] += chunk(n, c, pixel, count);
    }
    if (grad_gate == nullptr) return;
    for (int64_t c = begin; c < end; ++c) grad_gate[n * shape.c + c] = A(totals[c - begin]);
  }

  // Gradient of x at some pixels of one channel; returns their part of the gate's.
  A chunk(int64_t n, int64_t c, int64_t pixel, int64_t count) const {
    const A *mean = of_mean(n) + pixel, *maximum = of_maximum(n) + pixel;
    const int32_t *first = index + n * shape.pixels() + pixel, channel = int32_t(c);
    const A share = A(1) / A(shape.c), scale = gate[n * shape.c + c];
    const int64_t place = (n * shape.c + c) * shape.pixels() + pixel;
    A of_product[kChunk], wide_x[kChunk];
    for (int64_t i = 0; i < count; ++i) {
      const A whole = maximum[i];  // read always, so that the loop needs no branch
      of_product[i] = mean[i] * share + (first[i] == channel ? whole : A(0));
    }
    if (grad_x != nullptr) {
      S* __restrict to = grad_x + place;
      for (int64_t i = 0; i < count; ++i) narrow(of_product[i] * scale, to[i]);
    }
    if (grad_gate == nullptr) return A(0);
    return sum_products<A>(widened(x + place, count, wide_x), of_product, count);
  }

  // Gradients of one part of a channels-last image; those of the gate are added to `sums`.
  void part(int64_t n, int64_t begin, int64_t end, A* sums) const {
    const int64_t c = shape.c, pixels = shape.pixels();
    const A share = A(1) / A(c);
    const A* scale = gate + n * c;
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      const A mean = of_mean(n)[pixel] * share, maximum = of_maximum(n)[pixel];
      const int64_t first = index[n * pixels + pixel];
      const S* from = x + (n * pixels + pixel) * c;
      if (grad_gate != nullptr) {
        A* __restrict to = sums;
        for (int64_t i = 0; i < c; ++i) to[i] += A(widen(from[i])) * mean;
        to[first] += A(widen(from[first])) * maximum;
      }
      if (grad_x != nullptr) {
        S* __restrict to = grad_x + (n * pixels + pixel) * c;
        for (int64_t i = 0; i < c; ++i) narrow(scale[i] * mean, to[i]);
        narrow(scale[first] * (mean + maximum), to[first]);
      }
    }
  }

  void run() const {
    const int64_t c = shape.c, pixels = shape.pixels(), parts = ceil_div(pixels, kPart);
    if (!shape.channels_last) {
      const int64_t groups = ceil_div(c, kTogether);
      return parallel(shape.n * groups, kTogether * pixels, [&](int64_t i) {
        const int64_t begin = i % groups * kTogether;
        planes(i / groups, begin, std::min(c, begin + kTogether));
      });
    }
    std::vector<A> sums(grad_gate != nullptr ? shape.n * parts * c : 0);
    parallel(shape.n * parts, kPart * c, [&](int64_t task) {
      const int64_t begin = task % parts * kPart;
      part(task / parts, begin, std::min(pixels, begin + kPart), sums.data() + task * c);
    });
    if (grad_gate == nullptr) return;
    parallel(shape.n * c, parts, [&](int64_t i) {
      const A* of_image = sums.data() + i / c * parts * c;
      double total = 0;
      for (int64_t part = 0; part < parts; ++part) total += of_image[part * c + i % c];
      grad_gate[i] = A(total);
    });
  }
};

std::tuple<Tensor, Tensor> backward(
    const Tensor& grad_in, const Tensor& input, const Tensor& gate_in, const Tensor& index_in,
    bool need_x, bool need_gate) {
  const Tensor x = dense(kOp, "x", input);
  const Shape shape(x);
  check(shape);
  const ScalarType wide = accumulate_type(x.scalar_type());
  const Tensor gate = small(kOp, "gate", gate_in, wide, {shape.n, shape.c});
  const Tensor grad = small(kOp, "grad", grad_in, wide, {shape.n, 2, shape.h, shape.w});
  const Tensor index = small(kOp, "index", index_in, ScalarType::Int, {shape.n, shape.h, shape.w});
  const int32_t* indices = static_cast<const int32_t*>(index.const_data_ptr());
  bool inside = true;
  for (int64_t i = 0; i < index.numel(); ++i) inside &= indices[i] >= 0 && indices[i] < shape.c;
  STD_TORCH_CHECK(inside, kOp, ": index is not that of a channel");
  Tensor grad_x = need_x ? torch::stable::empty_like(x) : torch::stable::new_empty(x, {0});
  Tensor grad_gate = zeros_like(need_gate ? gate : empty({0}, wide, false, x));
  if (x.numel() == 0) return {grad_x, grad_gate};
  dispatch(kOp, x.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    using A = Compute<S>;
    Backward<S>{
        shape,
        static_cast<const A*>(grad.const_data_ptr()),
        static_cast<const S*>(x.const_data_ptr()),
        static_cast<const A*>(gate.const_data_ptr()),
        indices,
        need_x ? static_cast<S*>(grad_x.mutable_data_ptr()) : nullptr,
        need_gate ? static_cast<A*>(grad_gate.mutable_data_ptr()) : nullptr}
        .run();
  });
  return {grad_x, grad_gate};
}

}  // namespace
}  // namespace gated_channel_pool
}  // namespace mmattn

STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_cpp, m) {
  m.def("gated_channel_pool(Tensor x, Tensor gate) -> (Tensor, Tensor)");
  m.def(
      "gated_channel_pool_backward(Tensor grad, Tensor x, Tensor gate, Tensor index, "
      "bool need_x, bool need_gate) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mmattn_cpp, CPU, m) {
  m.impl("gated_channel_pool", TORCH_BOX(&mmattn::gated_channel_pool::forward));
  m.impl("gated_channel_pool_backward", TORCH_BOX(&mmattn::gated_channel_pool::backward));
}
