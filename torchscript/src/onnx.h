#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>

// The bytes of an ONNX file that says the same as a frozen module does of images of this shape, any number of them.
// Throws if an operation has no counterpart here.
std::string to_onnx(const torch::jit::Module &frozen, const int64_t shape[3]);
