//! libFuzzer's bytes as the choices that make a small model; see `egret_fuzz::surface::compile`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(finding) = egret_fuzz::surface::compile(bytes) {
        panic!("{finding}");
    }
});
