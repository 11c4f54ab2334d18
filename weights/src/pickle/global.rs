//! The Python names that a dict of tensors needs. What each of them does is ours ([`super::call`]).

use crate::Dtype;

/// A name that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    OrderedDict,
    Size,
    Device,
    /// `torch.float32` and so on, as values.
    Dtype,
    /// Type of a storage. Untyped ones are bytes.
    Storage(Dtype),
    /// `torch.Tensor` and `torch.nn.Parameter`, as values.
    TensorType,
    RebuildTensor,
    RebuildTensorV2,
    RebuildFromType,
    RebuildParameter,
    RebuildParameterWithState,
}

impl Global {
    /// `None` if it is not known.
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch", "Size") => Some(Self::Size),
            ("torch", "device") => Some(Self::Device),
            ("torch", "Tensor") | ("torch.nn.parameter", "Parameter") => Some(Self::TensorType),
            ("torch._utils", "_rebuild_tensor") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensorV2),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch._utils", "_rebuild_parameter_with_state") => Some(Self::RebuildParameterWithState),
            ("torch._tensor", "_rebuild_from_type_v2") => Some(Self::RebuildFromType),
            ("torch.storage", "UntypedStorage") => Some(Self::Storage(Dtype::U8)),
            // Old files that were written on a GPU.
            ("torch" | "torch.cuda", _) => match storage(name) {
                Some(dtype) => Some(Self::Storage(dtype)),
                None => dtype(name).then_some(Self::Dtype),
            },
            _ => None,
        }
    }

    /// For messages.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::OrderedDict => "OrderedDict",
            Self::Size => "torch.Size",
            Self::Device => "torch.device",
            Self::Dtype => "torch.dtype",
            Self::Storage(_) => "a storage",
            Self::TensorType => "torch.Tensor",
            Self::RebuildTensor => "_rebuild_tensor",
            Self::RebuildTensorV2 => "_rebuild_tensor_v2",
            Self::RebuildFromType => "_rebuild_from_type_v2",
            Self::RebuildParameter => "_rebuild_parameter",
            Self::RebuildParameterWithState => "_rebuild_parameter_with_state",
        }
    }
}

fn storage(name: &str) -> Option<Dtype> {
    Some(match name.strip_suffix("Storage")? {
        "Bool" => Dtype::Bool,
        "Byte" => Dtype::U8,
        "Char" => Dtype::I8,
        "Short" => Dtype::I16,
        "Int" => Dtype::I32,
        "Long" => Dtype::I64,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::Bf16,
        "Float" => Dtype::F32,
        "Double" => Dtype::F64,
        _ => return None,
    })
}

fn dtype(name: &str) -> bool {
    let known =
        ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"];
    known.contains(&name)
}
