/* The level every processor runs: SSE2 on x86-64, NEON on arm64. */
#define LEVEL base
#define VECTOR_BYTES 16
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define GATHER_GRAM_EXTRA_F32 0
#include "kernels.inc"
