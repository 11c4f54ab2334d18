//! The form of `/predict-file`, through axum's parser: nothing panics, and no more files are held than images are allowed,
//! nor more bytes than were sent.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The files alone, with nothing of the server around them.
#[allow(dead_code, reason = "the server uses the rest")]
#[path = "../../model-server/src/http"]
mod http {
    mod form;
    mod text;

    pub async fn read(body: &[u8]) {
        let kind = axum::http::HeaderValue::from_static("multipart/form-data; boundary=b");
        let Ok(form) = form::read(Some(&kind), body.to_vec().into(), 4).await else { return };
        assert!(form.count >= 1 && form.files.len() == form.count.min(4));
        assert!(form.files.iter().map(|file| file.len()).sum::<usize>() <= body.len());
    }
}

fuzz_target!(|body: &[u8]| futures::executor::block_on(http::read(body)));
