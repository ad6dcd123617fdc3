// mmattn_cpp::row_column_means and its backward.
//
// A contiguous image is averaged plane by plane; a channels-last one in parts of some rows, whose
// sums of columns are then added in order. Parts depend on the size alone, so results do not change
// with the number of threads.
#include <tuple>

#include "image.h"
#include "lines.h"

namespace mmattn {
namespace row_column_means {
namespace {

constexpr const char* kOp = "row_column_means";
constexpr int64_t kPart = 16;     // rows, at least
constexpr int64_t kTogether = 4;  // rows whose pixels take turns, while sums of a column are in L1

// Adds a line to the sums of its columns and returns its own sum.
template <typename A>
A add_row(const A* line, int64_t count, A* columns) {
  constexpr int L = kLanes<A>;
  Vec<A> lanes{};
  int64_t i = 0;
  for (; i + L <= count; i += L) {
    const Vec<A> v = load<A>(line + i);
    lanes += v;
    store<A>(columns + i, load<A>(columns + i) + v);
  }
  A total = fold<A>(lanes, Plus());
  for (; i < count; ++i) {
    total += line[i];
    columns[i] += line[i];
  }
  return total;
}

template <typename S, typename A>
void reduce_planes(const S* x, const Shape& shape, A* rows, A* columns) {
  parallel(shape.n * shape.c, shape.pixels(), [&](int64_t plane) {
    A scratch[kChunk];
    A* sums = columns + plane * shape.w;
    std::fill(sums, sums + shape.w, A(0));
    for (int64_t h = 0; h < shape.h; ++h) {
      const S* row = x + (plane * shape.h + h) * shape.w;
      A total(0);
      for (int64_t begin = 0; begin < shape.w; begin += kChunk) {
        const int64_t count = std::min(kChunk, shape.w - begin);
        total += add_row(widened(row + begin, count, scratch), count, sums + begin);
      }
      rows[plane * shape.h + h] = total / A(shape.w);
    }
    for (int64_t w = 0; w < shape.w; ++w) sums[w] /= A(shape.h);
  });
}

// Adds the channels of a pixel to the sums of its row and of its column.
template <typename S, typename A>
void add_line(const S* line, int64_t count, A* __restrict row, A* __restrict column) {
  for (int64_t i = 0; i < count; ++i) {
    const A value = widen(line[i]);
    row[i] += value;
    column[i] += value;
  }
}

template <typename S, typename A>
void reduce_channels_last(const S* x, const Shape& shape, A* rows, A* columns) {
  const int64_t c = shape.c, w = shape.w;
  const int64_t height = std::max(kPart, ceil_div(shape.h, 8)), parts = ceil_div(shape.h, height);
  std::vector<A> sums(shape.n * parts * w * c);
  parallel(shape.n * parts, height * w * c, [&](int64_t task) {
    const int64_t n = task / parts, first = task % parts * height;
    const int64_t end = std::min(shape.h, first + height);
    A* of_columns = sums.data() + task * w * c;
    for (int64_t h = first; h < end; h += kTogether) {
      const int64_t count = std::min(kTogether, end - h);
      std::vector<A> of_rows(count * c, A(0));
      for (int64_t pixel = 0; pixel < w; ++pixel) {
        for (int64_t row = 0; row < count; ++row) {
          const S* line = x + (((n * shape.h) + h + row) * w + pixel) * c;
          add_line(line, c, of_rows.data() + row * c, of_columns + pixel * c);
        }
      }
      for (int64_t row = 0; row < count; ++row) {
        for (int64_t i = 0; i < c; ++i) {
          rows[(n * c + i) * shape.h + h + row] = of_rows[row * c + i] / A(w);
        }
      }
    }
  });
  parallel(shape.n * w, parts * c, [&](int64_t task) {
    const int64_t n = task / w, pixel = task % w;
    for (int64_t i = 0; i < c; ++i) {
      A total(0);
      for (int64_t part = 0; part < parts; ++part) {
        total += sums[((n * parts + part) * w + pixel) * c + i];
      }
      columns[(n * c + i) * w + pixel] = total / A(shape.h);
    }
  });
}

std::tuple<Tensor, Tensor> forward(const Tensor& input) {
  const Tensor x = dense(kOp, "x", input);
  const Shape shape(x);
  STD_TORCH_CHECK(shape.h > 0 && shape.w > 0, kOp, ": height and width must not be 0");
  const ScalarType wide = accumulate_type(x.scalar_type());
  Tensor row_means = empty({shape.n, shape.c, shape.h}, wide, false, x);
  Tensor column_means = empty({shape.n, shape.c, shape.w}, wide, false, x);
  if (x.numel() == 0) return {row_means, column_means};
  dispatch(kOp, x.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    using A = Compute<S>;
    const S* numbers = static_cast<const S*>(x.const_data_ptr());
    A *rows = static_cast<A*>(row_means.mutable_data_ptr()),
      *columns = static_cast<A*>(column_means.mutable_data_ptr());
    if (shape.channels_last) return reduce_channels_last(numbers, shape, rows, columns);
    reduce_planes(numbers, shape, rows, columns);
  });
  return {row_means, column_means};
}

// Every pixel gets its share of the gradients of its row and its column.
template <typename S, typename A>
void spread(const Shape& shape, const A* rows, const A* columns, S* grad) {
  const int64_t c = shape.c, w = shape.w;
  const A of_row = A(1) / A(w), of_column = A(1) / A(shape.h);
  if (!shape.channels_last) {
    return parallel(shape.n * c * shape.h, w, [&](int64_t line) {
      const A row = rows[line] * of_row;
      const A* column = columns + line / shape.h * w;
      S* to = grad + line * w;
      for (int64_t i = 0; i < w; ++i) narrow(row + column[i] * of_column, to[i]);
    });
  }
  const std::vector<A> turned = channels_to_the_end(columns, shape.n, c, w, of_column);
  parallel(shape.n * shape.h, w * c, [&](int64_t line) {
    const int64_t n = line / shape.h, h = line % shape.h;
    std::vector<A> row(c);
    for (int64_t i = 0; i < c; ++i) row[i] = rows[(n * c + i) * shape.h + h] * of_row;
    for (int64_t pixel = 0; pixel < w; ++pixel) {
      const A* column = turned.data() + (n * w + pixel) * c;
      S* to = grad + (line * w + pixel) * c;
      for (int64_t i = 0; i < c; ++i) narrow(row[i] + column[i], to[i]);
    }
  });
}

Tensor backward(
    const Tensor& grad_row_means, const Tensor& grad_column_means, ScalarType type,
    bool channels_last) {
  STD_TORCH_CHECK(
      grad_row_means.dim() == 3 && grad_column_means.dim() == 3, kOp,
      ": gradients must have 3 dimensions");
  const std::vector<int64_t> size{
      grad_row_means.size(0), grad_row_means.size(1), grad_row_means.size(2),
      grad_column_means.size(2)};
  const ScalarType wide = accumulate_type(type);
  const Tensor rows =
      small(kOp, "grad_row_means", grad_row_means, wide, {size[0], size[1], size[2]});
  const Tensor columns =
      small(kOp, "grad_column_means", grad_column_means, wide, {size[0], size[1], size[3]});
  Tensor grad = empty(size, type, channels_last, rows);
  if (grad.numel() == 0) return grad;
  dispatch(kOp, type, [&](auto* null) {
    using S = std::remove_pointer_t<decltype(null)>;
    using A = Compute<S>;
    spread(
        Shape(grad), static_cast<const A*>(rows.const_data_ptr()),
        static_cast<const A*>(columns.const_data_ptr()), static_cast<S*>(grad.mutable_data_ptr()));
  });
  return grad;
}

}  // namespace
}  // namespace row_column_means
}  // namespace mmattn

STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_cpp, m) {
  m.def("row_column_means(Tensor x) -> (Tensor, Tensor)");
  m.def(
      "row_column_means_backward(Tensor grad_row_means, Tensor grad_column_means, ScalarType "
      "dtype, "
      "bool channels_last) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(mmattn_cpp, CPU, m) {
  m.impl("row_column_means", TORCH_BOX(&mmattn::row_column_means::forward));
  m.impl("row_column_means_backward", TORCH_BOX(&mmattn::row_column_means::backward));
}
