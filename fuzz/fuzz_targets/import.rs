//! libFuzzer's bytes as an ONNX model; see `egret_fuzz::surface::import`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(finding) = egret_fuzz::surface::import(bytes) {
        panic!("{finding}");
    }
});
