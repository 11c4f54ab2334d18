//! TorchScript graphs, frozen and optimised for inference.
//!
//! tch has neither `torch::jit::freeze`, nor `optimize_for_inference`, nor `InferenceMode`; together they make the same
//! file two to four times faster on a CPU, and oneDNN's fusion of layers makes it faster still, and ONNX Runtime, for which
//! [`translate`] writes it anew, most of all (ADR 21 has the figures). This crate is the only one with unsafe code: C++ behind [`Graph`] and [`translate`], from
//! which no exception comes.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;

/// What libtorch said, on one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TorchError(String);

/// How a graph is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plan {
    /// Frozen and optimised, for batches of any size.
    #[default]
    Optimised,
    /// oneDNN fuses its layers: faster, but compiled anew for each size of batches, in the second run of it.
    Fused,
    /// The same in 16 bits with the range of 32 and 8 bits of mantissa. Faster only where the processor has AMX.
    FusedBf16,
}

/// A loaded graph. Threads may run it at the same time, and share its weights and what was compiled.
#[derive(Debug)]
pub struct Graph {
    raw: NonNull<ffi::Graph>,
}

// SAFETY: the graph has no tie to the thread that loaded it.
unsafe impl Send for Graph {}
// SAFETY: libtorch's modules and executors may be run by several threads at once, and the shim locks what it adds itself.
unsafe impl Sync for Graph {}

/// Longest message of libtorch that is kept, with its end, in bytes.
const MESSAGE: usize = 4096;

impl Graph {
    /// Loads the bytes of a TorchScript archive, to be run by this plan.
    ///
    /// # Errors
    /// If libtorch does not accept them.
    pub fn load(archive: &[u8], plan: Plan) -> Result<Self, TorchError> {
        let mut message = [0; MESSAGE];
        // SAFETY: the archive and the room for a message are ours, as long as they say, and are read or written during
        // the call only.
        let raw = unsafe {
            ffi::sluice_graph_load(
                archive.as_ptr().cast(),
                archive.len(),
                plan != Plan::Optimised,
                plan == Plan::FusedBf16,
                message.as_mut_ptr(),
                MESSAGE,
            )
        };
        let raw = NonNull::new(raw).ok_or_else(|| told(&message))?;
        Ok(Self { raw })
    }

    /// Runs `images` inputs of `shape` (channels, height, width) that lie one after the other, and gives all outputs, the
    /// first image's first; more than `most` are cut off, and an output says how many there were.
    ///
    /// # Errors
    /// If the graph fails on this input.
    ///
    /// # Panics
    /// When there are not as many inputs as `images` and `shape` say.
    pub fn run(
        &self,
        inputs: &[f32],
        images: usize,
        shape: [usize; 3],
        most: usize,
    ) -> Result<(Vec<f32>, usize), TorchError> {
        assert_eq!(inputs.len(), images * shape.iter().product::<usize>(), "inputs have their shape");
        let number = |n: usize| i64::try_from(n).expect("what lies in memory is counted in 63 bits");
        let (mut outputs, mut found) = (vec![0.0; most], 0);
        let mut message = [0; MESSAGE];
        // SAFETY: the inputs are as many as the shape says, of the outputs no more than their number are written, and
        // nothing is kept after the call.
        let ran = unsafe {
            ffi::sluice_graph_run(
                self.raw.as_ptr(),
                inputs.as_ptr(),
                number(images),
                shape.map(number).as_ptr(),
                outputs.as_mut_ptr(),
                number(most),
                &raw mut found,
                message.as_mut_ptr(),
                MESSAGE,
            )
        };
        if !ran {
            return Err(told(&message));
        }
        let found = usize::try_from(found).unwrap_or_default();
        outputs.truncate(found);
        Ok((outputs, found))
    }
}

/// Translates the bytes of a TorchScript archive into those of an ONNX file that says the same of any number of inputs of
/// `shape` (channels, height, width).
///
/// # Errors
/// If libtorch does not accept them, or an operation of the graph has no counterpart; names it.
pub fn translate(archive: &[u8], shape: [usize; 3]) -> Result<Vec<u8>, TorchError> {
    unsafe extern "C" fn take(to: *mut c_void, bytes: *const c_char, length: usize) {
        // SAFETY: `to` is the file below, which nobody else has meanwhile, and the bytes are as many as are said.
        let (to, bytes) =
            unsafe { (&mut *to.cast::<Vec<u8>>(), std::slice::from_raw_parts(bytes.cast(), length)) };
        to.extend_from_slice(bytes);
    }
    let shape = shape.map(|n| i64::try_from(n).expect("what lies in memory is counted in 63 bits"));
    let (mut file, mut message) = (Vec::<u8>::new(), [0; MESSAGE]);
    // SAFETY: the archive, the shape and the room for a message are ours, as long as they say, and nothing is kept after the
    // call, in which `take` is called.
    let translated = unsafe {
        ffi::sluice_graph_translate(
            archive.as_ptr().cast(),
            archive.len(),
            shape.as_ptr(),
            take,
            (&raw mut file).cast(),
            message.as_mut_ptr(),
            MESSAGE,
        )
    };
    if translated { Ok(file) } else { Err(told(&message)) }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: it was made by `sluice_graph_load` and is freed once.
        unsafe { ffi::sluice_graph_free(self.raw.as_ptr()) }
    }
}

/// Takes numbers on the calling thread that are too small to be normal for 0: a processor works on them many times slower.
/// Whether it can.
pub fn flush_denormal() -> bool {
    // SAFETY: it sets a flag of the calling thread's processor state.
    unsafe { ffi::sluice_flush_denormal() }
}

/// The instructions that libtorch uses on this processor, such as `AVX512`.
#[must_use]
pub fn cpu_capability() -> &'static str {
    // SAFETY: the text is a static string of the shim.
    unsafe { CStr::from_ptr(ffi::sluice_cpu_capability()) }.to_str().unwrap_or("unknown")
}

fn told(message: &[c_char; MESSAGE]) -> TorchError {
    // SAFETY: the shim ends each message that it writes, and the room was zeroed.
    TorchError(meaning(&unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy()))
}

/// The line of libtorch's message that says something: what follows is the graph's source, whole tensors and C++
/// backtraces. Of a TorchScript error the cause is the last line.
#[must_use]
pub fn meaning(message: &str) -> String {
    let lines = || message.lines().map(str::trim).filter(|line| !line.is_empty());
    let cause = lines().rev().find_map(|line| line.strip_prefix("RuntimeError: "));
    let meaning = cause.or_else(|| lines().next()).unwrap_or("unknown error");
    let short: String = meaning.chars().take(200).collect();
    short.split("Exception raised from").next().unwrap_or_default().trim_end().to_owned()
}

mod ffi {
    use std::ffi::{c_char, c_void};

    #[repr(C)]
    #[derive(Debug)]
    pub(super) struct Graph {
        _opaque: [u8; 0],
    }

    // SAFETY: as src/shim.cpp declares them.
    unsafe extern "C" {
        pub(super) fn sluice_graph_load(
            data: *const c_char,
            length: usize,
            fuse: bool,
            bf16: bool,
            error: *mut c_char,
            room: usize,
        ) -> *mut Graph;
        pub(super) fn sluice_graph_translate(
            data: *const c_char,
            length: usize,
            shape: *const i64,
            take: unsafe extern "C" fn(*mut c_void, *const c_char, usize),
            to: *mut c_void,
            error: *mut c_char,
            room: usize,
        ) -> bool;
        pub(super) fn sluice_graph_run(
            graph: *mut Graph,
            inputs: *const f32,
            images: i64,
            shape: *const i64,
            outputs: *mut f32,
            most: i64,
            found: *mut i64,
            error: *mut c_char,
            room: usize,
        ) -> bool;
        pub(super) fn sluice_graph_free(graph: *mut Graph);
        pub(super) fn sluice_flush_denormal() -> bool;
        pub(super) fn sluice_cpu_capability() -> *const c_char;
    }
}
