/* Normal random numbers: AVX2. */
#define LEVEL v3
#include "normals.inc"
