//! The body of `/v2/…/infer`: nothing panics, and what is taken has as many finite numbers as its shape says. The first two
//! bytes say how many are JSON, 65535 all.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The files alone, with nothing of the server around them.
#[allow(dead_code, reason = "the server uses the rest")]
#[path = "../../model-server/src/http"]
mod http {
    mod tensors;
    mod text;

    pub fn read(body: &[u8], json: Option<&str>) {
        let signature = tensors::Signature { input: "input", output: "output", shape: [1, 2, 2], images: 3 };
        let Ok(asked) = tensors::read(body, json, signature) else { return };
        assert!((1..=3).contains(&asked.images));
        assert_eq!(asked.inputs.len(), asked.images * 4);
        assert!(asked.inputs.iter().all(|number| number.is_finite()));
    }
}

fuzz_target!(|body: &[u8]| {
    let Some((length, body)) = body.split_first_chunk() else { return };
    let length = u16::from_le_bytes(*length);
    http::read(body, (length < u16::MAX).then(|| length.to_string()).as_deref());
});
