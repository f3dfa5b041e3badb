/* Normal random numbers: AVX-512. */
#define LEVEL v4
#include "normals.inc"
