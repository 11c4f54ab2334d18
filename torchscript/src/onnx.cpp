// From a frozen graph of TorchScript to one of ONNX, for the operations of image classifiers. libtorch writes the file; which
// operation becomes which is Python in PyTorch, and so is here.
#include "onnx.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/serialization/export.h>

#include <functional>
#include <optional>
#include <stdexcept>
#include <unordered_map>
#include <vector>

namespace {

using torch::jit::IValue;
using torch::jit::Node;
using torch::jit::Symbol;
using torch::jit::Value;

// Of the operators' set; ONNX Runtime knows it since 1.12.
constexpr int64_t OPSET = 17;

struct Translation {
  std::shared_ptr<torch::jit::Graph> to = std::make_shared<torch::jit::Graph>();
  std::unordered_map<const Value *, Value *> values;

  // What a node is given at a place, where it is known before the graph runs.
  template <typename Kind> static Kind known(const Node *node, size_t at) {
    std::optional<IValue> value = at < node->inputs().size() ? torch::jit::toIValue(node->input(at)) : std::nullopt;
    if (!value) refuse(node, "what it is given depends on the images");
    try {
      return value->to<Kind>();
    } catch (const c10::Error &) {
      refuse(node, "it is given something of another type");
    }
  }

  [[noreturn]] static void refuse(const Node *node, const std::string &why) {
    throw std::runtime_error(std::string(node->kind().toQualString()) + ": " + why);
  }

  static void must(bool holds, const Node *node, const char *why) {
    if (!holds) refuse(node, why);
  }

  // The counterpart of a value; weights and numbers become constants.
  Value *of(const Value *value) {
    if (auto found = values.find(value); found != values.end()) return found->second;
    std::optional<IValue> known = torch::jit::toIValue(value);
    if (known && known->isTensor()) return values[value] = constant(known->toTensor());
    if (known && known->isScalar()) return values[value] = constant(at::scalar_tensor(known->toScalar(), at::kFloat));
    refuse(value->node(), "it has no counterpart");
  }

  Value *constant(const at::Tensor &tensor) {
    Node *node = to->appendNode(to->create(Symbol::fromQualString("onnx::Constant"), 1));
    node->t_(torch::jit::attr::value, tensor.contiguous());
    return node->output();
  }

  Node *add(const char *name, std::vector<Value *> inputs) {
    Node *node = to->create(Symbol::fromQualString(std::string("onnx::") + name), 1);
    for (Value *input : inputs) node->addInput(input);
    return to->appendNode(node);
  }

  // Lengths of both sides, before and after.
  static std::vector<int64_t> both(std::vector<int64_t> padding) {
    padding.insert(padding.end(), padding.begin(), padding.end());
    return padding;
  }

  Node *window(Node *made, const Node *node, std::vector<int64_t> kernel, size_t strides, size_t padding) {
    auto steps = known<std::vector<int64_t>>(node, strides);
    made->is_(Symbol::attr("strides"), steps.empty() ? kernel : steps);
    made->is_(Symbol::attr("kernel_shape"), std::move(kernel));
    made->is_(Symbol::attr("pads"), both(known<std::vector<int64_t>>(node, padding)));
    return made;
  }

  // Input, weights and, if there is one, bias.
  std::vector<Value *> weighted(const Node *node) {
    std::vector<Value *> inputs{of(node->input(0)), of(node->input(1))};
    if (!node->input(2)->mustBeNone()) inputs.push_back(of(node->input(2)));
    return inputs;
  }

  Value *convolution(const Node *node, size_t groups) {
    const bool general = groups == 8;
    must(!general || !known<bool>(node, 6), node, "transposed");
    auto weight = known<at::Tensor>(node, 1);
    must(weight.dim() == 4, node, "not of two sides");
    Node *made = window(add("Conv", weighted(node)), node, {weight.size(2), weight.size(3)}, 3, 4);
    made->is_(Symbol::attr("dilations"), known<std::vector<int64_t>>(node, 5));
    made->i_(Symbol::attr("group"), known<int64_t>(node, groups));
    return made->output();
  }

  Value *norm(const Node *node) {
    must(!known<bool>(node, 5), node, "it is in training");
    std::vector<Value *> inputs;
    for (size_t i = 0; i < 5; i++) inputs.push_back(of(node->input(i)));
    Node *made = add("BatchNormalization", inputs);
    made->f_(Symbol::attr("epsilon"), known<double>(node, 7));
    return made->output();
  }

  Value *largest(const Node *node) {
    auto kernel = known<std::vector<int64_t>>(node, 1);
    Node *made = window(add("MaxPool", {of(node->input(0))}), node, kernel, 2, 3);
    made->is_(Symbol::attr("dilations"), known<std::vector<int64_t>>(node, 4));
    made->i_(Symbol::attr("ceil_mode"), known<bool>(node, 5));
    return made->output();
  }

  Value *average(const Node *node) {
    must(node->input(6)->mustBeNone(), node, "divided by another number");
    must(!known<bool>(node, 4), node, "rounded up");
    auto kernel = known<std::vector<int64_t>>(node, 1);
    Node *made = window(add("AveragePool", {of(node->input(0))}), node, kernel, 2, 3);
    made->i_(Symbol::attr("count_include_pad"), known<bool>(node, 5));
    return made->output();
  }

  Value *adaptive(const Node *node) {
    must(known<std::vector<int64_t>>(node, 1) == std::vector<int64_t>({1, 1}), node, "to more than one pixel");
    return alone("GlobalAveragePool", node);
  }

  Value *mean(const Node *node) {
    must(node->input(3)->mustBeNone(), node, "to another type");
    Node *made = add("ReduceMean", {of(node->input(0))});
    made->is_(Symbol::attr("axes"), known<std::vector<int64_t>>(node, 1));
    made->i_(Symbol::attr("keepdims"), known<bool>(node, 2));
    return made->output();
  }

  Value *flatten(const Node *node) {
    must(known<int64_t>(node, 1) == 1 && known<int64_t>(node, 2) == -1, node, "images become one");
    Node *made = add("Flatten", {of(node->input(0))});
    made->i_(Symbol::attr("axis"), 1);
    return made->output();
  }

  Value *linear(const Node *node) {
    Node *made = add("Gemm", weighted(node));
    made->i_(Symbol::attr("transB"), 1);
    return made->output();
  }

  Value *clip(const Node *node) {
    return add("Clip", {of(node->input(0)), of(node->input(1)), of(node->input(2))})->output();
  }

  Value *six(const Node *node) {
    Value *least = constant(at::scalar_tensor(0, at::kFloat)), *most = constant(at::scalar_tensor(6, at::kFloat));
    return add("Clip", {of(node->input(0)), least, most})->output();
  }

  Value *hard(const Node *node) {
    Node *made = add("HardSigmoid", {of(node->input(0))});
    made->f_(Symbol::attr("alpha"), 1.0 / 6);
    return made->output();
  }

  Value *silu(const Node *node) {
    return add("Mul", {of(node->input(0)), add("Sigmoid", {of(node->input(0))})->output()})->output();
  }

  Value *sum(const Node *node) {
    must(known<at::Scalar>(node, 2).toDouble() == 1, node, "weighted");
    return pair("Add", node);
  }

  Value *pair(const char *name, const Node *node) {
    return add(name, {of(node->input(0)), of(node->input(1))})->output();
  }

  Value *alone(const char *name, const Node *node) { return add(name, {of(node->input(0))})->output(); }

  Value *along(const char *name, const Node *node) {
    Node *made = add(name, {of(node->input(0))});
    made->i_(Symbol::attr("axis"), known<int64_t>(node, 1));
    return made->output();
  }

  Value *together(const Node *node) {
    const Node *list = node->input(0)->node();
    must(list->kind() == torch::jit::prim::ListConstruct, node, "of a list that is not written there");
    std::vector<Value *> inputs;
    for (const Value *input : list->inputs()) inputs.push_back(of(input));
    Node *made = add("Concat", inputs);
    made->i_(Symbol::attr("axis"), known<int64_t>(node, 1));
    return made->output();
  }

  Value *same(const Node *node) { return of(node->input(0)); }

  Value *dropped(const Node *node) {
    must(!known<bool>(node, 2), node, "it is in training");
    return same(node);
  }

  void node(const Node *node) {
    using Rule = std::function<Value *(Translation &, const Node *)>;
    static const std::unordered_map<std::string, Rule> rules = [] {
      const auto named = [](Value *(Translation::*rule)(const char *, const Node *), const char *name) -> Rule {
        return [=](Translation &it, const Node *node) { return (it.*rule)(name, node); };
      };
      return std::unordered_map<std::string, Rule>{
          {"_convolution", [](Translation &it, const Node *node) { return it.convolution(node, 8); }},
          {"conv2d", [](Translation &it, const Node *node) { return it.convolution(node, 6); }},
          {"batch_norm", &Translation::norm},
          {"relu", named(&Translation::alone, "Relu")},
          {"sigmoid", named(&Translation::alone, "Sigmoid")},
          {"tanh", named(&Translation::alone, "Tanh")},
          {"hardswish", named(&Translation::alone, "HardSwish")},
          {"hardsigmoid", &Translation::hard},
          {"silu", &Translation::silu},
          {"hardtanh", &Translation::clip},
          {"relu6", &Translation::six},
          {"max_pool2d", &Translation::largest},
          {"avg_pool2d", &Translation::average},
          {"adaptive_avg_pool2d", &Translation::adaptive},
          {"mean", &Translation::mean},
          {"flatten", &Translation::flatten},
          {"linear", &Translation::linear},
          {"add", &Translation::sum},
          {"mul", named(&Translation::pair, "Mul")},
          {"cat", &Translation::together},
          {"softmax", named(&Translation::along, "Softmax")},
          {"log_softmax", named(&Translation::along, "LogSoftmax")},
          {"dropout", &Translation::dropped},
          {"feature_dropout", &Translation::dropped},
          {"contiguous", &Translation::same},
          {"detach", &Translation::same},
      };
    }();
    if (node->kind() == torch::jit::prim::Constant || node->kind() == torch::jit::prim::ListConstruct) return;
    std::string name = node->kind().toUnqualString();
    // In place or not: here, each value is written once.
    if (!name.empty() && name.back() == '_') name.pop_back();
    const auto rule = rules.find(name);
    must(node->kind().is_aten() && rule != rules.end(), node, "it has no counterpart");
    values[node->output()] = rule->second(*this, node);
  }
};

} // namespace

std::string to_onnx(const torch::jit::Module &frozen, const int64_t shape[3]) {
  std::shared_ptr<torch::jit::Graph> graph = frozen.get_method("forward").graph();
  if (graph->inputs().size() != 2 || graph->outputs().size() != 1)
    throw std::runtime_error("the graph has another number of inputs or outputs than one");
  Translation translation;
  Value *images = translation.to->addInput("images");
  images->setType(c10::TensorType::createContiguous(at::kFloat, at::kCPU, {1, shape[0], shape[1], shape[2]}));
  translation.values[graph->inputs()[1]] = images;
  for (const Node *node : graph->nodes()) translation.node(node);
  translation.to->registerOutput(translation.of(graph->outputs()[0]));
  const auto exported = torch::jit::export_onnx(translation.to, {}, OPSET, {{"images", {{0, "n"}}}}, false,
                                                torch::onnx::OperatorExportTypes::ONNX, true, false);
  return torch::jit::serialize_model_proto_to_string(std::get<0>(exported));
}
