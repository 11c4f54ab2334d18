use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SIGNATURE: Signature<'static> =
    Signature { input: "input", output: "probabilities", shape: [3, 1, 2], images: 4 };

fn body(shape: &Value, data: &Value) -> Value {
    json!({"inputs": [{"name": "input", "shape": shape, "datatype": "FP32", "data": data}]})
}

fn of(body: &Value) -> Result<Asked, String> {
    read(body.to_string().as_bytes(), None, SIGNATURE)
}

#[test]
fn numbers_are_read_flat_or_nested() {
    let inputs: Vec<f32> = (0..12).map(|i| i as f32 / 4.0).collect();
    let flat = body(&json!([2, 3, 1, 2]), &json!(inputs));
    let asked = Asked { id: None, inputs: inputs.clone(), images: 2, binary: false };
    assert_eq!(of(&flat), Ok(asked));
    let nested: Vec<Vec<Vec<&[f32]>>> =
        inputs.chunks(6).map(|image| image.chunks(2).map(|row| vec![row]).collect()).collect();
    assert_eq!(of(&body(&json!([2, 3, 1, 2]), &json!(nested))).unwrap().inputs, inputs);
    let mut named = flat.clone();
    named["id"] = json!("a\n\"b\"");
    named["outputs"] = json!([{"name": "probabilities", "parameters": {"binary_data": true, "other": [1]}}]);
    named["parameters"] = json!({"priority": 1});
    let asked = of(&named).unwrap();
    assert_eq!((asked.id.as_deref(), asked.binary), (Some("a\n\"b\""), true));
}

#[test]
fn bytes_behind_the_json_are_numbers() {
    let numbers: Vec<f32> = (0..6).map(|i| i as f32 - 2.5).collect();
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let head = |size: usize| {
        json!({"inputs": [{"name": "input", "shape": [1, 3, 1, 2], "datatype": "FP32",
            "parameters": {"binary_data_size": size}}], "parameters": {"binary_data_output": true}})
        .to_string()
    };
    let read = |head: &str, bytes: &[u8], length: &str| {
        read(&[head.as_bytes(), bytes].concat(), Some(length), SIGNATURE)
    };
    let good = head(24);
    let asked = read(&good, &bytes, &good.len().to_string()).unwrap();
    assert_eq!((asked.inputs, asked.images, asked.binary), (numbers, 1, true));
    let error = |head: &str, bytes: &[u8], length: &str| read(head, bytes, length).unwrap_err();
    assert_eq!(
        error(&good, &bytes[..20], &good.len().to_string()),
        "binary_data_size is 24, and 20 bytes follow the JSON"
    );
    let odd = head(23);
    assert_eq!(
        error(&odd, &bytes[..23], &odd.len().to_string()),
        "the input has 23 bytes, allowed: a multiple of 4"
    );
    let few = head(20);
    assert_eq!(
        error(&few, &bytes[..20], &few.len().to_string()),
        "the input has 5 numbers, its shape says 6"
    );
    for length in ["-1", "1e3", "99999999999999999999", "100000", ""] {
        let said = error(&good, &bytes, length);
        assert!(
            said.starts_with("Inference-Header-Content-Length is") && said.contains("allowed: 0..="),
            "{said}"
        );
    }
    let nan = [&bytes[..20], &f32::NAN.to_le_bytes()].concat();
    assert_eq!(error(&good, &nan, &good.len().to_string()), "data[5] is NaN, allowed: finite numbers");
    let text = body(&json!([1, 3, 1, 2]), &json!([0, 0, 0, 0, 0, 0])).to_string();
    assert_eq!(
        error(&text, &bytes, &text.len().to_string()),
        "24 bytes follow the JSON, and no input is in them"
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let data = json!([0, 0, 0, 0, 0, 0]);
    let allowed = "allowed: [n, 3, 1, 2] with n in 1..=4";
    for shape in [
        json!([]),
        json!([6]),
        json!([0, 3, 1, 2]),
        json!([5, 3, 1, 2]),
        json!([1, 3, 2, 1]),
        json!([1, 3, 1, 2, 1]),
        json!([1u64 << 40, 3, 1, 2]),
        json!([(1u64 << 63) + 1, 3, 1, 2]),
        json!([1, 1u64 << 63, 1u64 << 63, 1u64 << 63]),
    ] {
        let error = of(&body(&shape, &data)).unwrap_err();
        assert!(error.starts_with("the input's shape is") && error.ends_with(allowed), "{shape}: {error}");
    }
    let changed = |pointer: &str, value: Value| {
        let mut body = body(&json!([1, 3, 1, 2]), &data);
        *body.pointer_mut(pointer).unwrap() = value;
        of(&body).unwrap_err()
    };
    assert_eq!(changed("/inputs/0/name", json!("x")), "the input is called \"x\", allowed: \"input\"");
    assert_eq!(
        changed("/inputs/0/datatype", json!("FP64")),
        "the input's datatype is \"FP64\", allowed: \"FP32\""
    );
    assert_eq!(changed("/inputs/0/data", json!([0, 0])), "the input has 2 numbers, its shape says 6");
    assert_eq!(
        changed("/inputs/0/data", Value::Null),
        "the input has no data, and no binary_data_size either"
    );
    assert_eq!(changed("/inputs", json!([])), "the request has 0 inputs, allowed: 1, \"input\"");
    for wrong in [json!("text"), json!([[0, "1"]]), json!([null]), json!([{}]), json!([1e39]), json!(7)] {
        let error = changed("/inputs/0/data", wrong.clone());
        assert!(error.starts_with("the body is not the JSON that was expected"), "{wrong}: {error}");
    }
    assert!(changed("/inputs/0/shape", json!([-1, 3, 1, 2])).contains("invalid value"));
    let mut other = body(&json!([1, 3, 1, 2]), &data);
    other["outputs"] = json!([{"name": "logits"}]);
    assert_eq!(
        of(&other).unwrap_err(),
        "the outputs asked for are [\"logits\"], allowed: \"probabilities\" once"
    );
}

#[test]
fn lists_in_lists_end_somewhere() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = format!(
        r#"{{"inputs": [{{"name": "input", "shape": [1, 3, 1, 2], "datatype": "FP32", "data": {deep}}}]}}"#
    );
    let error = read(text.as_bytes(), None, SIGNATURE).unwrap_err();
    assert!(error.contains("recursion limit exceeded"), "{error}");
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), json in "[0-9-]{0,5}") {
        let _ = read(&bytes, None, SIGNATURE);
        let _ = read(&bytes, Some(&json), SIGNATURE);
    }
}
