//! libFuzzer's bytes as the choices that grow a graph; see `egret_fuzz::surface::graph`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(finding) = egret_fuzz::surface::graph(bytes) {
        panic!("{finding}");
    }
});
