//! Weights of a model from an untrusted file: nothing panics, nothing takes more memory than allowed, and what is taken
//! has as many values as its shape says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weights::{Limits, Weights};

const BYTES: usize = 1 << 20;

fuzz_target!(|file: &[u8]| {
    let limits = Limits { bytes: BYTES, ..Limits::default() };
    let Ok(weights) = Weights::read(file, &limits) else { return };
    let mut total = 0;
    for (_, array) in weights.iter() {
        assert_eq!(array.to_f32().len(), array.shape().iter().product::<usize>());
        total += array.data().len();
    }
    assert!(total <= BYTES);
    let shapes: Vec<_> = weights.iter().map(|(name, array)| (name, array.shape())).collect();
    let floats = weights.iter().all(|(_, array)| array.dtype().is_float());
    assert!(!floats || weights.expect(&shapes).is_ok());
});
