//! Finds ONNX Runtime and loads it, once per process.

use std::env;
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::one_line;

/// Names the library; ONNX Runtime's other programs know the variable too.
const VARIABLE: &str = "ORT_DYLIB_PATH";
const FILE: &str = "libonnxruntime.so";
/// Where `hack/onnxruntime` puts it, in the checkout that this was built from.
const CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.onnxruntime/lib");

/// Why there is no ONNX Runtime.
#[derive(Debug, thiserror::Error)]
pub(super) enum LibraryError {
    #[error(
        "{model} needs ONNX Runtime, which is neither of {}: run hack/onnxruntime, or set {VARIABLE} to a {FILE}, 1.{} or newer",
        list(.0), ort::MINOR_VERSION, model = crate::model::ONNX
    )]
    Missing(Vec<PathBuf>),
    #[error(
        "{model} needs ONNX Runtime, and {} is none that can be used: {reason}; {VARIABLE} can name another {FILE}, 1.{} or newer",
        path.display(), ort::MINOR_VERSION, model = crate::model::ONNX
    )]
    Wrong { path: PathBuf, reason: String },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Loads it if it is not. After an error it may be tried again.
pub(super) fn load() -> Result<(), LibraryError> {
    static LOADED: Mutex<bool> = Mutex::new(false);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if *loaded {
        return Ok(());
    }
    let named = env::var_os(VARIABLE).filter(|path| !path.is_empty());
    let path = find(named.map(PathBuf::from), env::current_exe().ok().as_deref())?;
    let wrong = |reason: &str| LibraryError::Wrong { path: path.clone(), reason: one_line(reason) };
    let environment = ort::init_from(&path).map_err(|e| wrong(&reason(&e)))?;
    let log = |level: LogLevel, _: &str, _: &str, _: &str, message: &str| match level {
        LogLevel::Error | LogLevel::Fatal => tracing::warn!("ONNX Runtime: {}", one_line(message)),
        _ => tracing::debug!("ONNX Runtime: {}", one_line(message)),
    };
    // The library that we bring has nothing to send with; another one might.
    environment.with_name("sluice").with_telemetry(false).with_logger(Arc::new(log)).commit();
    let environment = Environment::current().map_err(|e| wrong(e.message()))?;
    environment.set_log_level(LogLevel::Error);
    tracing::info!(path = %path.display(), "ONNX Runtime is loaded");
    *loaded = true;
    Ok(())
}

/// What the system says of a file that it cannot load, which ort leaves out.
fn reason(error: &ort::LoadDynamicError) -> String {
    match error {
        ort::LoadDynamicError::Dlopen { error, .. } => error.source().unwrap_or(error).to_string(),
        other => other.to_string(),
    }
}

/// The one that is named; else beside the program's folder, as in an image; else the checkout's.
fn find(named: Option<PathBuf>, program: Option<&Path>) -> Result<PathBuf, LibraryError> {
    if let Some(named) = named {
        return if named.is_file() { Ok(named) } else { Err(LibraryError::Missing(vec![named])) };
    }
    let beside = program.and_then(Path::parent).and_then(Path::parent).map(|up| up.join("lib"));
    let places: Vec<PathBuf> =
        beside.into_iter().chain([PathBuf::from(CHECKOUT)]).map(|folder| folder.join(FILE)).collect();
    places.iter().find(|path| path.is_file()).cloned().ok_or(LibraryError::Missing(places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_one_is_taken_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let named = directory.path().join("mine.so");
        let missing = find(Some(named.clone()), None).unwrap_err().to_string();
        let expected = format!("model.onnx needs ONNX Runtime, which is neither of {}: run", named.display());
        assert!(missing.starts_with(&expected), "{missing}");
        std::fs::write(&named, "").unwrap();
        assert_eq!(find(Some(named.clone()), None).unwrap(), named);
    }

    #[test]
    fn the_one_beside_the_program_comes_before_that_of_the_checkout() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("bin/model-server");
        let beside = directory.path().join("lib").join(FILE);
        let other = find(None, Some(&program));
        assert_ne!(other.ok(), Some(beside.clone()));
        std::fs::create_dir(directory.path().join("lib")).unwrap();
        std::fs::write(&beside, "").unwrap();
        assert_eq!(find(None, Some(&program)).unwrap(), beside);
    }
}
