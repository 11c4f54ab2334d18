//! Ids of predictions, as clients send them back: nothing is taken without its signature, and what is signed comes back.

#![no_main]

use hmac::Mac;
use libfuzzer_sys::fuzz_target;

// The file alone, with nothing of the router around it.
#[allow(dead_code, reason = "its tests and the router use the rest")]
#[path = "../../router/src/feedback/id.rs"]
mod id;

use id::{Key, PredictionId};

fuzz_target!(|input: (&str, &[u8])| {
    let (text, signed) = input;
    let key = Key::new_from_slice(b"a key").expect("any length is a key");
    assert_eq!(PredictionId::read(text, &key), None, "signed by chance or forged");
    // Behind the signature: whoever has the key may write anything.
    use base64::Engine;
    let signature = key.clone().chain_update(signed).finalize().into_bytes();
    let bytes = [signed, &signature[..16]].concat();
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    if let Some(id) = PredictionId::read(&text, &key)
        && let Some(again) = id.sign(&key)
    {
        assert_eq!(again, text, "one id, one text");
    }
});
