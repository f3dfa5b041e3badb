/* x86-64-v3: AVX2 and FMA, 16 registers of 32 bytes. */
#define LEVEL v3
#define VECTOR_BYTES 32
#define TILE_ROWS 4
#define TILE_VECTORS 3
#define GATHER_GRAM_EXTRA_F32 0
#include "kernels.inc"
