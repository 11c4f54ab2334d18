//! From a network in Rust to TorchScript.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use rustix::fs::{MemfdFlags, memfd_create};
use tch::{CModule, Device, Kind, TchError, Tensor};

/// The network's class within TorchScript, where a dash would not parse.
const CLASS: &str = "Classifier";

/// Writes down what a network does with one RGB image. It must not look at the number of images, and its weights must
/// not want gradients: tracing refuses such tensors.
///
/// # Errors
/// If the network fails on such an image.
pub(crate) fn trace(
    height: i64,
    width: i64,
    forward: impl Fn(&Tensor) -> Result<Tensor, TchError>,
) -> Result<CModule, TchError> {
    let example = Tensor::f_zeros([1, 3, height, width], (Kind::Float, Device::Cpu))?;
    let mut failed = None;
    let mut outputs = |inputs: &[Tensor]| match forward(&inputs[0]) {
        Ok(output) => vec![output],
        Err(error) => {
            failed = Some(error);
            Vec::new()
        }
    };
    let traced = CModule::create_by_tracing(CLASS, "forward", &[example], &mut outputs);
    match failed {
        Some(error) => Err(error),
        None => traced,
    }
}

/// The bytes that [`CModule::save`] writes. It takes a path only, and a pod may have no directory that it may write:
/// the file is in memory, under the name that the kernel has for it.
///
/// # Errors
/// If there is no memory.
pub(crate) fn archive(module: &CModule) -> Result<Vec<u8>, TchError> {
    let memory = memfd_create("torchscript", MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
    let mut file = File::from(memory);
    module.save(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
