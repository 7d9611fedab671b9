//! Operators of the domain `com.microsoft`, ONNX Runtime's own.

pub mod activation;
pub mod int_product;
pub mod layout;
pub mod packed;
pub mod q_linear;

pub mod bias_gelu;
pub mod dequantize_linear;
pub mod dynamic_quantize_lstm;
pub mod dynamic_quantize_mat_mul;
pub mod fast_gelu;
pub mod fused_conv;
pub mod fused_gemm;
pub mod fused_mat_mul;
pub mod gather_block_quantized;
pub mod gelu;
pub mod inverse;
pub mod mat_mul_integer_to_float;
pub mod mat_mul_n_bits;
pub mod nhwc_max_pool;
pub mod q_gemm;
pub mod q_linear_add;
pub mod q_linear_average_pool;
pub mod q_linear_concat;
pub mod q_linear_conv;
pub mod q_linear_global_average_pool;
pub mod q_linear_leaky_relu;
pub mod q_linear_mul;
pub mod q_linear_sigmoid;
pub mod q_linear_softmax;
pub mod q_linear_where;
pub mod quantize_linear;
pub mod quick_gelu;
pub mod transpose_mat_mul;
pub mod trilu;
