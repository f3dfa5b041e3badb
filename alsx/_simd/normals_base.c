/* Normal random numbers: Any processor. */
#define LEVEL base
#include "normals.inc"

void alsx_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) { philox(counter, key, out); }
