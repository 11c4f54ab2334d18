// What tch does not offer: TorchScript that is frozen and optimised for inference, run in InferenceMode. Plain C to the
// outside: no exception leaves it, and nothing of libtorch does. See docs/adr/0021-libtorch-through-a-shim.md.
#include "onnx.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/codegen/onednn/interface.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/torch.h>

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <streambuf>
#include <string>

namespace {

// Bytes that are there already, as a stream: an artefact is not copied to be read.
struct Bytes : std::streambuf {
  Bytes(const char *data, size_t length) {
    char *begin = const_cast<char *>(data);
    setg(begin, begin, begin + length);
  }
  pos_type seekoff(off_type off, std::ios_base::seekdir way, std::ios_base::openmode) override {
    char *from = way == std::ios_base::beg ? eback() : way == std::ios_base::cur ? gptr() : egptr();
    if (off < eback() - from || off > egptr() - from) return pos_type(off_type(-1));
    setg(eback(), from + off, egptr());
    return pos_type(gptr() - eback());
  }
  pos_type seekpos(pos_type at, std::ios_base::openmode mode) override {
    return seekoff(off_type(at), std::ios_base::beg, mode);
  }
};

void tell(char *error, size_t room, const char *what) {
  std::strncpy(error, what, room - 1);
  error[room - 1] = '\0';
}

// Runs what may throw; false with a message if it did.
template <typename Work> bool guarded(char *error, size_t room, Work work) {
  try {
    work();
    return true;
  } catch (const std::exception &caught) {
    tell(error, room, caught.what());
  } catch (...) {
    tell(error, room, "unknown error");
  }
  return false;
}

// Rounds all weights to bf16. They are constants: those of a frozen graph always are, those of one that tch traced from the
// beginning, so that Module::to would not find them.
void round_weights(torch::jit::Block *block) {
  for (torch::jit::Node *node : block->nodes()) {
    for (torch::jit::Block *inner : node->blocks()) round_weights(inner);
    if (node->kind() != torch::jit::prim::Constant || !node->hasAttribute(torch::jit::attr::value) ||
        node->kindOf(torch::jit::attr::value) != torch::jit::AttributeKind::t)
      continue;
    at::Tensor weight = node->t(torch::jit::attr::value);
    if (weight.scalar_type() != torch::kFloat) continue;
    node->t_(torch::jit::attr::value, weight.to(torch::kBFloat16));
    node->output()->inferTypeFrom(node->t(torch::jit::attr::value));
  }
}

// The same as contiguous(ChannelsLast) of floats that lie one after the other, without its general loop of strides.
at::Tensor channels_last(const at::Tensor &input) {
  at::Tensor output = at::empty(input.sizes(), input.options(), at::MemoryFormat::ChannelsLast);
  const int64_t images = input.size(0), channels = input.size(1), pixels = input.size(2) * input.size(3);
  const float *from = input.const_data_ptr<float>();
  float *to = output.mutable_data_ptr<float>();
  for (int64_t image = 0; image < images; image++, to += channels * pixels)
    for (int64_t channel = 0; channel < channels; channel++, from += pixels)
      for (int64_t pixel = 0; pixel < pixels; pixel++) to[pixel * channels + channel] = from[pixel];
  return output;
}

torch::jit::Module load(const char *data, size_t length) {
  Bytes bytes(data, length);
  std::istream stream(&bytes);
  torch::jit::Module module = torch::jit::load(stream, torch::kCPU);
  module.eval();
  return torch::jit::freeze(module);
}

// Optimised for batches of any size. libtorch's own passes fail with some graphs (hardtanh between whole numbers): then as it is.
torch::jit::Module optimised(const char *data, size_t length) {
  torch::jit::Module frozen = load(data, length);
  try {
    return torch::jit::optimize_for_inference(frozen);
  } catch (const std::exception &) {
    return load(data, length);
  }
}

} // namespace

extern "C" {

struct sluice_graph {
  // Frozen; optimised as well if it is not fused.
  torch::jit::Module module;
  bool bf16;
  // What is fused is compiled for one size of batches: each has a copy of the graph, and all share the weights.
  std::shared_ptr<torch::jit::Graph> fused;
  std::map<int64_t, torch::jit::GraphExecutor> sizes;
  // Of `sizes`, not of what is in it: executors are for several threads, and stay where they are.
  std::mutex growing;

  torch::jit::GraphExecutor &of(int64_t images) {
    std::lock_guard<std::mutex> alone(growing);
    auto found = sizes.find(images);
    if (found == sizes.end()) found = sizes.try_emplace(images, fused->copy(), "forward").first;
    return found->second;
  }

  at::Tensor run(at::Tensor input) {
    if (!fused) {
      // It has been optimised; what is fused for others must not be fused here.
      torch::jit::GraphOptimizerEnabledGuard as_it_is(false);
      return module.forward({input}).toTensor();
    }
    // Layers keep this order; in the other, each turns it around and back.
    input = channels_last(input);
    if (bf16) input = input.to(torch::kBFloat16);
    torch::jit::Stack stack{module._ivalue(), input};
    of(input.size(0)).run(stack);
    return stack.at(0).toTensor();
  }
};

// Loads a graph and freezes it, and optimises it unless its layers are to be fused by oneDNN when it runs. Null with a message
// if it cannot be loaded.
sluice_graph *sluice_graph_load(const char *data, size_t length, bool fuse, bool bf16, char *error, size_t room) {
  sluice_graph *graph = nullptr;
  guarded(error, room, [&] {
    if (!fuse) {
      graph = new sluice_graph{optimised(data, length), false};
      return;
    }
    torch::jit::Module frozen = load(data, length);
    // For all graphs of this process, and once.
    static const bool registered = torch::jit::RegisterLlgaFuseGraph::setEnabled(true);
    (void)registered;
    std::shared_ptr<torch::jit::Graph> forward = frozen.get_method("forward").graph();
    // Behind freezing, which folds batch norms into convolutions at full precision.
    if (bf16) round_weights(forward->block());
    graph = new sluice_graph{frozen, bf16, forward};
  });
  return graph;
}

// Translates a graph for inputs of channels x height x width; `take` is given `to` and the bytes of the ONNX file, once.
bool sluice_graph_translate(const char *data, size_t length, const int64_t *shape, void (*take)(void *, const char *, size_t),
                            void *to, char *error, size_t room) {
  return guarded(error, room, [&] {
    const std::string file = to_onnx(load(data, length), shape);
    take(to, file.data(), file.size());
  });
}

// Runs `images` inputs of channels x height x width; writes at most `most` outputs and says how many there were.
bool sluice_graph_run(sluice_graph *graph, const float *inputs, int64_t images, const int64_t *shape, float *outputs,
                      int64_t most, int64_t *found, char *error, size_t room) {
  return guarded(error, room, [&] {
    // Both are the thread's own, and cost nothing beside the graph.
    c10::InferenceMode inference;
    at::Tensor input = torch::from_blob(const_cast<float *>(inputs), {images, shape[0], shape[1], shape[2]});
    at::Tensor output = graph->run(input).to(torch::kFloat).contiguous();
    *found = output.numel();
    std::memcpy(outputs, output.data_ptr<float>(), sizeof(float) * std::min(*found, most));
  });
}

void sluice_graph_free(sluice_graph *graph) { delete graph; }

// Numbers too small to be normal are 0 on the calling thread: they would slow it down five times.
bool sluice_flush_denormal() { return at::globalContext().setFlushDenormal(true); }

// The instructions that libtorch uses on this processor.
const char *sluice_cpu_capability() {
  static const std::string name = at::get_cpu_capability();
  return name.c_str();
}
}
