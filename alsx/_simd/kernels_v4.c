/* x86-64-v4: AVX-512 F, BW, CD, DQ, VL, 32 registers of 64 bytes. */
#define LEVEL v4
#define VECTOR_BYTES 64
#define TILE_ROWS 8
#define TILE_VECTORS 3
#define GATHER_GRAM_EXTRA_F32 4
/* Small systems wait for their pivots: narrower strips pass the wait on sooner. */
#define SMALLER_LEVEL v3
#define SMALLER_RANK 40
/* As many normals a row are made in two halves as fast. */
#define NORMALS_LEVEL v3
#include "kernels.inc"
