// The stored type of a tensor as a C++ type, and the dtype that sums of it have.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include "scalar.h"

namespace mmattn {

using torch::headeronly::ScalarType;

// Calls f with a null pointer of the stored type.
template <typename F>
void dispatch(const char* op, ScalarType type, F&& f) {
  switch (type) {
    case ScalarType::Float: return f(static_cast<float*>(nullptr));
    case ScalarType::Double: return f(static_cast<double*>(nullptr));
    case ScalarType::BFloat16: return f(static_cast<bfloat16*>(nullptr));
    case ScalarType::Half: return f(static_cast<float16*>(nullptr));
    default: STD_TORCH_CHECK(false, op, ": unsupported dtype");
  }
}

// Dtype of sums, statistics and gates, like `accumulate_dtype` in Python.
inline ScalarType accumulate_type(ScalarType type) {
  return type == ScalarType::Double ? type : ScalarType::Float;
}

}  // namespace mmattn
