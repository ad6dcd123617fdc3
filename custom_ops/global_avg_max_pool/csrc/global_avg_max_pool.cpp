// mmattn_cpp::global_avg_max_pool and its backward.
//
// A contiguous image is reduced plane by plane; a channels-last one in parts of some pixels, each
// with sums and maxima of all channels, which are then merged in order. Parts depend on the size
// alone, so results do not change with the number of threads.
#include <tuple>

#include "image.h"
#include "lines.h"

namespace mmattn {
namespace global_avg_max_pool {
namespace {

constexpr const char* kOp = "global_avg_max_pool";
constexpr int64_t kPart = 256;  // pixels

template <typename S, typename A = Compute<S>>
Total<A> reduce_plane(const S* plane, int64_t pixels) {
  Total<A> total;
  A scratch[kChunk];
  for (int64_t begin = 0; begin < pixels; begin += kChunk) {
    const int64_t count = std::min(kChunk, pixels - begin);
    const A* line = widened(plane + begin, count, scratch);
    total.template add_line<false>(line, nullptr, count, begin);
  }
  return total;
}

// Sums and maxima of one part of a channels-last image.
template <typename S, typename A = Compute<S>>
void reduce_part(const S* part, int64_t pixels, int64_t channels, const Accumulators<A>& into) {
  constexpr int kLines = 4;
  A scratch[kChunk];
  into.clear(channels);
  for (int64_t begin = 0; begin < channels; begin += kChunk) {
    const int64_t count = std::min(kChunk, channels - begin);
    const Accumulators<A> here{into.sum + begin, into.maximum + begin, into.index + begin};
    const S* from = part + begin;
    int64_t pixel = 0;
    if constexpr (std::is_same<S, A>::value) {
      for (; pixel + kLines <= pixels; pixel += kLines, from += kLines * channels) {
        here.template add<kLines, false>(from, channels, nullptr, Integer<A>(pixel), count);
      }
    }
    for (; pixel < pixels; ++pixel, from += channels) {
      const A* line = widened(from, count, scratch);
      here.template add<1, false>(line, 0, nullptr, Integer<A>(pixel), count);
    }
  }
  for (int64_t c = 0; c < channels; ++c) {
    if (into.sum[c] == into.sum[c]) continue;
    for (int64_t pixel = pixels - 1; pixel >= 0; --pixel) {
      const A value = widen(part[pixel * channels + c]);
      if (value == value) continue;
      into.maximum[c] = value;
      into.index[c] = Integer<A>(pixel);
    }
  }
}

template <typename S, typename A, typename Store>
void reduce_channels_last(const S* x, const Shape& shape, const Store& result) {
  const int64_t c = shape.c, pixels = shape.pixels(), parts = ceil_div(pixels, kPart);
  std::vector<A> sums(shape.n * parts * c), maxima(shape.n * parts * c);
  std::vector<Integer<A>> indices(shape.n * parts * c);
  parallel(shape.n * parts, kPart * c, [&](int64_t task) {
    const int64_t begin = task % parts * kPart, count = std::min(kPart, pixels - begin);
    const S* part = x + (task / parts * pixels + begin) * c;
    reduce_part<S>(part, count, c, {&sums[task * c], &maxima[task * c], &indices[task * c]});
  });
  parallel(shape.n, parts * c, [&](int64_t image) {
    std::vector<Total<A>> totals(c);
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t from = (image * parts + part) * c;
      for (int64_t i = 0; i < c; ++i) {
        totals[i].add(sums[from + i], maxima[from + i], part * kPart + indices[from + i]);
      }
    }
    for (int64_t i = 0; i < c; ++i) result(image * c + i, totals[i]);
  });
}

std::tuple<Tensor, Tensor, Tensor> forward(const Tensor& input) {
  const Tensor x = dense(kOp, "x", input);
  const Shape shape(x);
  STD_TORCH_CHECK(shape.h > 0 && shape.w > 0, kOp, ": height and width must not be 0");
  const ScalarType wide = accumulate_type(x.scalar_type());
  Tensor mean = empty({shape.n, shape.c}, wide, false, x);
  Tensor maximum = empty({shape.n, shape.c}, wide, false, x);
  Tensor index = empty({shape.n, shape.c}, ScalarType::Long, false, x);
  if (mean.numel() == 0) return {mean, maximum, index};
  dispatch(kOp, x.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    using A = Compute<S>;
    const S* numbers = static_cast<const S*>(x.const_data_ptr());
    A *means = static_cast<A*>(mean.mutable_data_ptr()),
      *maxima = static_cast<A*>(maximum.mutable_data_ptr());
    int64_t* indices = static_cast<int64_t*>(index.mutable_data_ptr());
    auto result = [&](int64_t at, const Total<A>& total) {
      means[at] = A(total.sum / double(shape.pixels()));
      maxima[at] = total.maximum;
      indices[at] = total.index;
    };
    if (shape.channels_last) return reduce_channels_last<S, A>(numbers, shape, result);
    parallel(shape.n * shape.c, shape.pixels(), [&](int64_t plane) {
      result(plane, reduce_plane<S>(numbers + plane * shape.pixels(), shape.pixels()));
    });
  });
  return {mean, maximum, index};
}

// Every pixel gets its share of the mean's gradient, the first maximum also that of the maximum.
template <typename S, typename A = Compute<S>>
void spread(
    const Shape& shape, const A* of_mean, const A* of_maximum, const int64_t* index, S* grad) {
  const int64_t c = shape.c, pixels = shape.pixels();
  const A share = A(1) / A(pixels);
  if (shape.channels_last) {
    parallel(shape.n * shape.h, shape.w * c, [&](int64_t row) {
      S* to = grad + row * shape.w * c;
      const A* from = of_mean + row / shape.h * c;
      for (int64_t i = 0; i < c; ++i) narrow(from[i] * share, to[i]);
      for (int64_t pixel = 1; pixel < shape.w; ++pixel) std::copy(to, to + c, to + pixel * c);
    });
  } else {
    parallel(shape.n * c, pixels, [&](int64_t plane) {
      S value;
      narrow(of_mean[plane] * share, value);
      std::fill(grad + plane * pixels, grad + (plane + 1) * pixels, value);
    });
  }
  parallel(shape.n * c, 1, [&](int64_t i) {
    const int64_t at =
        shape.channels_last ? (i / c * pixels + index[i]) * c + i % c : i * pixels + index[i];
    narrow(of_mean[i] * share + of_maximum[i], grad[at]);
  });
}

Tensor backward(
    const Tensor& grad_mean, const Tensor& grad_maximum, const Tensor& index_in,
    const std::vector<int64_t> size, ScalarType type, bool channels_last) {
  STD_TORCH_CHECK(
      size.size() == 4 && size[0] >= 0 && size[1] >= 0 && size[2] > 0 && size[3] > 0, kOp,
      ": size must be that of an image (N, C, H, W)");
  const std::vector<int64_t> small_size{size[0], size[1]};
  const Tensor of_mean = small(kOp, "grad_mean", grad_mean, accumulate_type(type), small_size);
  const Tensor of_maximum = small(kOp, "grad_max", grad_maximum, accumulate_type(type), small_size);
  const Tensor index = small(kOp, "index", index_in, ScalarType::Long, small_size);
  Tensor grad = empty(size, type, channels_last, index);
  if (grad.numel() == 0) return grad;
  const int64_t* indices = static_cast<const int64_t*>(index.const_data_ptr());
  const int64_t pixels = size[2] * size[3];
  for (int64_t i = 0; i < index.numel(); ++i) {
    STD_TORCH_CHECK(indices[i] >= 0 && indices[i] < pixels, kOp, ": index is outside of the image");
  }
  dispatch(kOp, type, [&](auto* null) {
    using S = std::remove_pointer_t<decltype(null)>;
    using A = Compute<S>;
    spread<S>(
        Shape(grad), static_cast<const A*>(of_mean.const_data_ptr()),
        static_cast<const A*>(of_maximum.const_data_ptr()), indices,
        static_cast<S*>(grad.mutable_data_ptr()));
  });
  return grad;
}

}  // namespace
}  // namespace global_avg_max_pool
}  // namespace mmattn

STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_cpp, m) {
  m.def("global_avg_max_pool(Tensor x) -> (Tensor, Tensor, Tensor)");
  m.def(
      "global_avg_max_pool_backward(Tensor grad_mean, Tensor grad_max, Tensor index, SymInt[] "
      "size, "
      "ScalarType dtype, bool channels_last) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(mmattn_cpp, CPU, m) {
  m.impl("global_avg_max_pool", TORCH_BOX(&mmattn::global_avg_max_pool::forward));
  m.impl("global_avg_max_pool_backward", TORCH_BOX(&mmattn::global_avg_max_pool::backward));
}
