//! libFuzzer's bytes as IR text; see `egret_fuzz::surface::text`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(finding) = egret_fuzz::surface::text(bytes) {
        panic!("{finding}");
    }
});
