//! Operators of the domain `com.microsoft`, ONNX Runtime's own.

pub mod layout;

pub mod bias_gelu;
pub mod dequantize_linear;
pub mod fast_gelu;
pub mod gelu;
pub mod q_linear_add;
pub mod q_linear_average_pool;
pub mod q_linear_concat;
pub mod q_linear_global_average_pool;
pub mod q_linear_leaky_relu;
pub mod q_linear_mul;
pub mod q_linear_sigmoid;
pub mod quantize_linear;
pub mod quick_gelu;
