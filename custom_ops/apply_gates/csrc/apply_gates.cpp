// mmattn_cpp::apply_gates and its backward.
//
// In both layouts the work is lines of neighbouring numbers,
//
//   y[i] = x[i] (residual + scale a[i] b[i])
//
//                   line                  scale            a              b
//   contiguous      pixels of a row *     channel row      column         spatial
//   channels-last   channels of a pixel   spatial          channel row    column
//
// (* or of a whole plane, where neither rows nor columns have gates), and the gradients of scale, a
// and b are sums of grad x times the others. Sums that several threads contribute to are made
// in parts that depend on the size alone and added in order, so results do not depend on the number
// of threads.
#include <tuple>

#include "image.h"
#include "lines.h"

namespace mmattn {
namespace apply_gates {
namespace {

constexpr const char* kOp = "apply_gates";
constexpr int64_t kMostParts = 8;
constexpr int64_t kPart = 16;     // rows, at least, for which sums of all columns deserve a buffer
constexpr int64_t kTogether = 4;  // rows whose pixels take turns, while gates of a column are in L1

// Pointer of a tensor, null where there is none.
template <typename A>
const A* at(const A* gate, int64_t place) {
  return gate != nullptr ? gate + place : nullptr;
}

template <typename A>
A* at(A* gate, int64_t place) {
  return gate != nullptr ? gate + place : nullptr;
}

template <bool kWithA, bool kWithB, typename S, typename A>
void scale_line(
    const S* x, A residual, A scale, const A* a, const A* b, int64_t count, S* __restrict y) {
  for (int64_t i = 0; i < count; ++i) {
    A gate = scale;
    if constexpr (kWithA) gate *= a[i];
    if constexpr (kWithB) gate *= b[i];
    narrow(A(widen(x[i])) * (residual + gate), y[i]);
  }
}

// One line; a and b may be null, for ones.
template <typename A>
struct Line {
  A residual, scale;
  const A *a, *b;
  int64_t count;

  template <typename S>
  void apply(const S* x, S* y) const {
    if (a != nullptr && b != nullptr) {
      return scale_line<true, true>(x, residual, scale, a, b, count, y);
    }
    if (a != nullptr) return scale_line<true, false>(x, residual, scale, a, b, count, y);
    if (b != nullptr) return scale_line<false, true>(x, residual, scale, a, b, count, y);
    scale_line<false, false>(x, residual, scale, a, b, count, y);
  }

  // The gradient of x goes to grad_x, unless that is null. Where `of_gates`, those of a and b (if
  // there are any) are added to grad_a and grad_b, and that of scale is returned.
  template <typename S>
  A differentiate(const S* grad, const S* x, S* grad_x, A* grad_a, A* grad_b, bool of_gates) const {
    constexpr bool kWiden = !std::is_same<S, A>::value;
    if (!of_gates) {
      if (grad_x != nullptr) apply(grad, grad_x);
      return A(0);
    }
    A wide_grad[kChunk], wide_x[kChunk], result[kChunk];
    A total(0);
    for (int64_t begin = 0; begin < count; begin += kChunk) {
      const int64_t size = std::min(kChunk, count - begin);
      const Line line{residual, scale, at(a, begin), at(b, begin), size};
      const A *g = widened(grad + begin, size, wide_grad), *v = widened(x + begin, size, wide_x);
      A* to = result;
      if constexpr (!kWiden) to = grad_x != nullptr ? grad_x + begin : result;
      total += line.differentiate_chunk(g, v, to, at(grad_a, begin), at(grad_b, begin));
      if constexpr (kWiden) {
        if (grad_x != nullptr) narrow_block(result, int(size), grad_x + begin);
      }
    }
    return total;
  }

 private:
  A differentiate_chunk(const A* grad, const A* x, A* grad_x, A* grad_a, A* grad_b) const {
    if (a != nullptr && b != nullptr) {
      return differentiate_chunk<true, true>(grad, x, grad_x, grad_a, grad_b);
    }
    if (a != nullptr) return differentiate_chunk<true, false>(grad, x, grad_x, grad_a, grad_b);
    if (b != nullptr) return differentiate_chunk<false, true>(grad, x, grad_x, grad_a, grad_b);
    return differentiate_chunk<false, false>(grad, x, grad_x, grad_a, grad_b);
  }

  template <bool kWithA, bool kWithB>
  A differentiate_chunk(const A* grad, const A* x, A* grad_x, A* grad_a, A* grad_b) const {
    constexpr int L = kLanes<A>;
    Vec<A> sums{};
    int64_t i = 0;
    for (; i + L <= count; i += L) {
      const Vec<A> g = load<A>(grad + i), product = g * load<A>(x + i);
      const Vec<A> ones = Vec<A>{} + A(1);
      const Vec<A> with_a = kWithA ? load<A>(a + i) : ones;
      const Vec<A> with_b = kWithB ? load<A>(b + i) : ones;
      const Vec<A> gate = with_a * with_b;
      store<A>(grad_x + i, g * (gate * scale + residual));
      if constexpr (kWithA) store<A>(grad_a + i, load<A>(grad_a + i) + product * with_b * scale);
      if constexpr (kWithB) store<A>(grad_b + i, load<A>(grad_b + i) + product * with_a * scale);
      sums += product * gate;
    }
    A total = fold<A>(sums, Plus());
    for (; i < count; ++i) {
      const A product = grad[i] * x[i];
      const A with_a = kWithA ? a[i] : A(1), with_b = kWithB ? b[i] : A(1);
      grad_x[i] = grad[i] * (with_a * with_b * scale + residual);
      if constexpr (kWithA) grad_a[i] += product * with_b * scale;
      if constexpr (kWithB) grad_b[i] += product * with_a * scale;
      total += product * with_a * with_b;
    }
    return total;
  }
};

// Gates or their gradients; null where there are none.
template <typename P>
struct Gates {
  P channel, row, column, spatial;
};

template <typename A>
A value(const A* gate, int64_t at) {
  return gate != nullptr ? gate[at] : A(1);
}

// to[i] = sum over parts of from[part][i], for `size` numbers of each of n images.
template <typename A>
void add_parts(const std::vector<A>& from, int64_t n, int64_t parts, int64_t size, A* to) {
  parallel(n, parts * size, [&](int64_t image) {
    const A* first = from.data() + image * parts * size;
    A* sums = to + image * size;
    std::copy(first, first + size, sums);
    for (int64_t part = 1; part < parts; ++part) {
      for (int64_t i = 0; i < size; ++i) sums[i] += first[part * size + i];
    }
  });
}

template <typename S, typename A = Compute<S>>
class Contiguous {
 public:
  Contiguous(const Shape& shape, const Gates<const A*>& gates, bool residual)
      : shape_(shape), gates_(gates), residual_(residual ? 1 : 0) {
    const bool by_rows = gates.row != nullptr || gates.column != nullptr;
    lines_ = by_rows ? shape.h : 1;
    length_ = by_rows ? shape.w : shape.pixels();
  }

  void forward(const S* x, S* y) const {
    parallel(shape_.n * shape_.c * lines_, length_, [&](int64_t i) {
      line(i / lines_, i % lines_).apply(x + i * length_, y + i * length_);
    });
  }

  void backward(const S* grad, const S* x, S* grad_x, const Gates<A*>& grads) const {
    const int64_t c = shape_.c, pixels = shape_.pixels();
    const bool of_gates = grads.channel != nullptr || grads.row != nullptr ||
        grads.column != nullptr || grads.spatial != nullptr;
    // Channels share the gradient of a spatial gate.
    const int64_t parts = grads.spatial != nullptr ? std::min(c, kMostParts) : c;
    std::vector<A> spatial(grads.spatial != nullptr ? shape_.n * parts * pixels : 0);
    parallel(shape_.n * parts, c / parts * pixels, [&](int64_t task) {
      const int64_t n = task / parts, part = task % parts;
      A* of_spatial = grads.spatial != nullptr ? spatial.data() + task * pixels : nullptr;
      const int64_t first = n * c + c * part / parts, end = n * c + c * (part + 1) / parts;
      for (int64_t plane = first; plane < end; ++plane) {
        A* of_column = at(grads.column, plane * shape_.w);
        if (of_column != nullptr) std::fill(of_column, of_column + shape_.w, A(0));
        A of_channel(0);
        for (int64_t h = 0; h < lines_; ++h) {
          const int64_t place = (plane * lines_ + h) * length_;
          const A found = line(plane, h).differentiate(
              grad + place, x + place, at(grad_x, place), of_column, at(of_spatial, h * length_),
              of_gates);
          of_channel += found * value(gates_.row, plane * shape_.h + h);
          if (grads.row != nullptr) {
            grads.row[plane * shape_.h + h] = found * value(gates_.channel, plane);
          }
        }
        if (grads.channel != nullptr) grads.channel[plane] = of_channel;
      }
    });
    if (grads.spatial != nullptr) add_parts(spatial, shape_.n, parts, pixels, grads.spatial);
  }

 private:
  Line<A> line(int64_t plane, int64_t h) const {
    const A row = value(gates_.row, plane * shape_.h + h);
    return {
        residual_, row * value(gates_.channel, plane), at(gates_.column, plane * shape_.w),
        at(gates_.spatial, plane / shape_.c * shape_.pixels() + h * length_), length_};
  }

  Shape shape_;
  Gates<const A*> gates_;
  A residual_;
  int64_t lines_, length_;  // in a plane, and of each
};

template <typename S, typename A = Compute<S>>
class ChannelsLast {
 public:
  ChannelsLast(const Shape& shape, const Gates<const A*>& gates, bool residual)
      : shape_(shape), gates_(gates), residual_(residual ? 1 : 0) {
    if (gates.column != nullptr) {
      columns_ = channels_to_the_end(gates.column, shape.n, shape.c, shape.w, A(1));
    }
  }

  void forward(const S* x, S* y) const {
    const int64_t c = shape_.c, w = shape_.w, rows = shape_.n * shape_.h;
    const int64_t together = columns_.empty() ? 1 : kTogether;
    parallel(ceil_div(rows, together), together * w * c, [&](int64_t task) {
      const int64_t first = task * together, count = std::min(together, rows - first);
      std::vector<A> buffer(count * c);
      const A* of_row[kTogether];
      for (int64_t i = 0; i < count; ++i) of_row[i] = fill_row(first + i, buffer.data() + i * c);
      for (int64_t pixel = 0; pixel < w; ++pixel) {
        for (int64_t i = 0; i < count; ++i) {
          const int64_t place = ((first + i) * w + pixel) * c;
          line(first + i, pixel, of_row[i]).apply(x + place, y + place);
        }
      }
    });
  }

  void backward(const S* grad, const S* x, S* grad_x, const Gates<A*>& grads) const {
    const int64_t n = shape_.n, c = shape_.c, h = shape_.h, w = shape_.w;
    // Rows share the gradients of columns and channels.
    const int64_t least = grads.column != nullptr ? kPart : 1;
    const int64_t height = std::max(least, ceil_div(h, kMostParts)), parts = ceil_div(h, height);
    std::vector<A> channel(grads.channel != nullptr ? n * parts * c : 0);
    std::vector<A> column(grads.column != nullptr ? n * parts * w * c : 0);
    parallel(n * parts, height * w * c, [&](int64_t task) {
      const int64_t image = task / parts, first = image * h + task % parts * height;
      const int64_t end = std::min(first + height, (image + 1) * h);
      A* of_channels = grads.channel != nullptr ? channel.data() + task * c : nullptr;
      A* of_columns = grads.column != nullptr ? column.data() + task * w * c : nullptr;
      for (int64_t row = first; row < end; ++row) {
        backward_row(row, grad, x, grad_x, grads, of_channels, of_columns);
      }
    });
    if (grads.channel != nullptr) add_parts(channel, n, parts, c, grads.channel);
    if (grads.column != nullptr) {
      std::vector<A> sums(n * w * c);
      add_parts(column, n, parts, w * c, sums.data());
      transpose(sums.data(), n, w, c, grads.column);
    }
  }

 private:
  // Gradients of channels and columns are added to the sums of the part that the row is in.
  void backward_row(
      int64_t row, const S* grad, const S* x, S* grad_x, const Gates<A*>& grads, A* of_channels,
      A* of_columns) const {
    const int64_t c = shape_.c, h = shape_.h, w = shape_.w, n = row / h;
    const bool of_line = of_channels != nullptr || grads.row != nullptr;
    const bool of_gates = of_line || of_columns != nullptr || grads.spatial != nullptr;
    std::vector<A> buffer(c), sums(of_line ? c : 0, A(0));
    const A* gates = fill_row(row, buffer.data());
    for (int64_t pixel = row * w; pixel < (row + 1) * w; ++pixel) {
      const A found =
          line(row, pixel % w, gates)
              .differentiate(
                  grad + pixel * c, x + pixel * c, at(grad_x, pixel * c),
                  of_line ? sums.data() : nullptr, at(of_columns, pixel % w * c), of_gates);
      if (grads.spatial != nullptr) grads.spatial[pixel] = found;
    }
    for (int64_t i = 0; of_line && i < c; ++i) {
      const int64_t plane = n * c + i, place = plane * h + row % h;
      if (grads.row != nullptr) grads.row[place] = sums[i] * value(gates_.channel, plane);
      if (of_channels != nullptr) of_channels[i] += sums[i] * value(gates_.row, place);
    }
  }

  // Channel and row gates of one row of pixels, or null.
  const A* fill_row(int64_t row, A* buffer) const {
    const int64_t c = shape_.c, h = shape_.h, n = row / h;
    if (gates_.row == nullptr) return at(gates_.channel, n * c);
    for (int64_t i = 0; i < c; ++i) {
      buffer[i] = gates_.row[(n * c + i) * h + row % h] * value(gates_.channel, n * c + i);
    }
    return buffer;
  }

  Line<A> line(int64_t row, int64_t pixel, const A* of_row) const {
    const int64_t column = (row / shape_.h * shape_.w + pixel) * shape_.c;
    return {
        residual_, value(gates_.spatial, row * shape_.w + pixel), of_row,
        columns_.empty() ? nullptr : columns_.data() + column, shape_.c};
  }

  Shape shape_;
  Gates<const A*> gates_;
  A residual_;
  std::vector<A> columns_;  // (N, W, C)
};

// Gates as checked tensors, kept alive.
class Given {
 public:
  Given(
      const Shape& shape, ScalarType type, const std::optional<Tensor>& channel,
      const std::optional<Tensor>& row, const std::optional<Tensor>& column,
      const std::optional<Tensor>& spatial) {
    const int64_t n = shape.n, c = shape.c;
    add(channel, "channel", type, {n, c});
    add(row, "row", type, {n, c, shape.h});
    add(column, "column", type, {n, c, shape.w});
    add(spatial, "spatial", type, {n, 1, shape.h, shape.w});
  }

  // New tensors of zeros for the gradients; empty ones for gates that are not given.
  std::array<Tensor, 4> gradients(const Tensor& x, bool needed) const {
    const Tensor none = empty({0}, accumulate_type(x.scalar_type()), false, x);
    auto make = [&](int i) { return zeros_like(needed && gates_[i] ? *gates_[i] : none); };
    return {make(0), make(1), make(2), make(3)};
  }

  template <typename A>
  Gates<const A*> pointers() const {
    auto get = [&](int i) {
      return gates_[i] ? static_cast<const A*>(gates_[i]->const_data_ptr()) : nullptr;
    };
    return {get(0), get(1), get(2), get(3)};
  }

  template <typename A>
  Gates<A*> pointers(std::array<Tensor, 4>& grads, bool needed) const {
    auto get = [&](int i) {
      return needed && gates_[i] ? static_cast<A*>(grads[i].mutable_data_ptr()) : nullptr;
    };
    return {get(0), get(1), get(2), get(3)};
  }

 private:
  void add(
      const std::optional<Tensor>& gate, const char* name, ScalarType type,
      const std::vector<int64_t>& size) {
    gates_[count_] = gate;
    if (gate) gates_[count_] = small(kOp, name, *gate, type, size);
    ++count_;
  }

  std::array<std::optional<Tensor>, 4> gates_;
  int count_ = 0;
};

Tensor forward(
    const Tensor& input, const std::optional<Tensor>& channel, const std::optional<Tensor>& row,
    const std::optional<Tensor>& column, const std::optional<Tensor>& spatial, bool residual) {
  const Tensor x = dense(kOp, "x", input);
  const Shape shape(x);
  const Given given(shape, accumulate_type(x.scalar_type()), channel, row, column, spatial);
  Tensor y = torch::stable::empty_like(x);
  if (x.numel() == 0) return y;
  dispatch(kOp, x.scalar_type(), [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    const auto gates = given.pointers<Compute<S>>();
    const S* from = static_cast<const S*>(x.const_data_ptr());
    S* to = static_cast<S*>(y.mutable_data_ptr());
    if (shape.channels_last) return ChannelsLast<S>(shape, gates, residual).forward(from, to);
    Contiguous<S>(shape, gates, residual).forward(from, to);
  });
  return y;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> backward(
    const Tensor& grad_in, const Tensor& input, const std::optional<Tensor>& channel,
    const std::optional<Tensor>& row, const std::optional<Tensor>& column,
    const std::optional<Tensor>& spatial, bool residual, bool need_x, bool need_gates) {
  const Tensor x = dense(kOp, "x", input), grad = gradient_like(kOp, grad_in, x);
  const Shape shape(x);
  const Given given(shape, accumulate_type(x.scalar_type()), channel, row, column, spatial);
  Tensor grad_x = need_x ? torch::stable::empty_like(x) : torch::stable::new_empty(x, {0});
  auto grads = given.gradients(x, need_gates);
  if (x.numel() > 0) {
    dispatch(kOp, x.scalar_type(), [&](auto* type) {
      using S = std::remove_pointer_t<decltype(type)>;
      using A = Compute<S>;
      const auto gates = given.pointers<A>();
      const auto of_gates = given.pointers<A>(grads, need_gates);
      const S *g = static_cast<const S*>(grad.const_data_ptr()),
              *from = static_cast<const S*>(x.const_data_ptr());
      S* to = need_x ? static_cast<S*>(grad_x.mutable_data_ptr()) : nullptr;
      if (shape.channels_last) {
        return ChannelsLast<S>(shape, gates, residual).backward(g, from, to, of_gates);
      }
      Contiguous<S>(shape, gates, residual).backward(g, from, to, of_gates);
    });
  }
  return {grad_x, grads[0], grads[1], grads[2], grads[3]};
}

}  // namespace
}  // namespace apply_gates
}  // namespace mmattn

STABLE_TORCH_LIBRARY_FRAGMENT(mmattn_cpp, m) {
  m.def(
      "apply_gates(Tensor x, Tensor? channel, Tensor? row, Tensor? column, Tensor? spatial, "
      "bool residual) -> Tensor");
  m.def(
      "apply_gates_backward(Tensor grad, Tensor x, Tensor? channel, Tensor? row, Tensor? column, "
      "Tensor? spatial, bool residual, bool need_x, bool need_gates) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(mmattn_cpp, CPU, m) {
  m.impl("apply_gates", TORCH_BOX(&mmattn::apply_gates::forward));
  m.impl("apply_gates_backward", TORCH_BOX(&mmattn::apply_gates::backward));
}
