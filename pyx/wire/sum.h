/* Sum of 16-bit words for the Internet checksum, with the widest vectors that the processor has.

   All functions return a 64-bit number that is congruent, modulo 0xffff, to the sum of the 16-bit words in the
   machine's byte order; an odd last byte counts as a word padded with zero behind it. The vector forms turn
   words into signed ones (minus 0x8000) because the instruction that adds neighbouring words is signed, and
   add 0x8000 a word at the end. */

#ifndef MPCORE_SUM_H
#define MPCORE_SUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define MPCORE_SUM_X86 1
#include <immintrin.h>
#endif

enum {
    MPCORE_SUM_SMALL = 96,              /* below it the call of a vector form costs more than it saves */
    MPCORE_SUM_BLOCK = 512 * 1024       /* four accumulators of 32 bits cannot overflow within it */
};

static inline uint32_t mpcore_fold(uint64_t total)
{
    total = (total & 0xffffffff) + (total >> 32);
    total = (total & 0xffffffff) + (total >> 32);
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    return (uint32_t)((total & 0xffff) + (total >> 16));
}

/* For headers and the ends of what is longer: 64-bit words with their carry added at once. */
static inline uint64_t mpcore_sum_short(const uint8_t *data, size_t size)
{
    uint64_t total = 0, word;
    for (; size >= 8; data += 8, size -= 8) {
        memcpy(&word, data, 8);
        total += word;
        total += total < word;
    }
    word = 0;
    memcpy(&word, data, size);
    total += word;
    return total + (total < word);
}

/* For other processors: halves of 64-bit words are added in lanes of their own, which the compiler turns into
   vectors; no carry is lost below 2^31 words. */
static inline uint64_t mpcore_sum_plain(const uint8_t *data, size_t size)
{
    uint64_t low = 0, high = 0, word = 0;
    for (; size >= 8; data += 8, size -= 8) {
        memcpy(&word, data, 8);
        low += (uint32_t)word;
        high += word >> 32;
    }
    word = 0;
    memcpy(&word, data, size);
    return low + high + (uint32_t)word + (word >> 32);
}

#ifdef MPCORE_SUM_X86

__attribute__((target("avx2")))
static uint64_t mpcore_sum_avx2(const uint8_t *data, size_t size)
{
    const __m256i flip = _mm256_set1_epi16(INT16_MIN), one = _mm256_set1_epi16(1);
    const uint8_t *start = data;
    __m256i sum[4];
    int64_t lanes[4];
    int i;
    for (i = 0; i < 4; i++)
        sum[i] = _mm256_setzero_si256();
    for (; size >= 256; data += 256, size -= 256) {
        for (i = 0; i < 8; i++) {
            __m256i word = _mm256_loadu_si256((const __m256i *)(data + 32 * i));
            sum[i & 3] = _mm256_add_epi32(sum[i & 3], _mm256_madd_epi16(_mm256_xor_si256(word, flip), one));
        }
    }
    for (i = 0; size >= 32; data += 32, size -= 32, i++) {
        __m256i word = _mm256_loadu_si256((const __m256i *)data);
        sum[i & 3] = _mm256_add_epi32(sum[i & 3], _mm256_madd_epi16(_mm256_xor_si256(word, flip), one));
    }
    sum[0] = _mm256_add_epi32(_mm256_add_epi32(sum[0], sum[1]), _mm256_add_epi32(sum[2], sum[3]));
    _mm256_storeu_si256((__m256i *)lanes, _mm256_add_epi64(
        _mm256_cvtepi32_epi64(_mm256_castsi256_si128(sum[0])),
        _mm256_cvtepi32_epi64(_mm256_extracti128_si256(sum[0], 1))));
    return (uint64_t)(lanes[0] + lanes[1] + lanes[2] + lanes[3]) + 0x8000 * (uint64_t)(data - start) / 2
        + mpcore_fold(mpcore_sum_short(data, size));
}

__attribute__((target("avx512f,avx512bw")))
static uint64_t mpcore_sum_avx512(const uint8_t *data, size_t size)
{
    const __m512i flip = _mm512_set1_epi16(INT16_MIN), one = _mm512_set1_epi16(1);
    const uint8_t *start = data;
    __m512i sum[4];
    int i;
    for (i = 0; i < 4; i++)
        sum[i] = _mm512_setzero_si512();
    for (; size >= 512; data += 512, size -= 512) {
        for (i = 0; i < 8; i++) {
            __m512i word = _mm512_loadu_si512(data + 64 * i);
            sum[i & 3] = _mm512_add_epi32(sum[i & 3], _mm512_madd_epi16(_mm512_xor_si512(word, flip), one));
        }
    }
    /* The last vector is padded with zeros, which count as words like all others. */
    for (i = 0; size; i++) {
        size_t part = size < 64 ? size : 64;
        __m512i word = _mm512_maskz_loadu_epi8(~(__mmask64)0 >> (64 - part), data);
        sum[i & 3] = _mm512_add_epi32(sum[i & 3], _mm512_madd_epi16(_mm512_xor_si512(word, flip), one));
        data += part;
        size -= part;
    }
    sum[0] = _mm512_add_epi32(_mm512_add_epi32(sum[0], sum[1]), _mm512_add_epi32(sum[2], sum[3]));
    sum[1] = _mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(sum[0])),
                              _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(sum[0], 1)));
    return (uint64_t)_mm512_reduce_add_epi64(sum[1]) + 0x8000 * 32 * (((uint64_t)(data - start) + 63) / 64);
}

#endif

static inline uint64_t mpcore_sum_block(const uint8_t *data, size_t size)
{
    if (size < MPCORE_SUM_SMALL)
        return mpcore_sum_short(data, size);
#ifdef MPCORE_SUM_X86
    if (__builtin_cpu_supports("avx512bw"))
        return mpcore_sum_avx512(data, size);
    if (__builtin_cpu_supports("avx2"))
        return mpcore_sum_avx2(data, size);
#endif
    return mpcore_sum_plain(data, size);
}

static inline uint32_t mpcore_swap(uint32_t sum)
{
    return ((sum & 0xff) << 8) | (sum >> 8);
}

/* RFC 1071 section 2 (B): the sum may be taken in the machine's byte order and swapped at the end. */
static inline uint32_t mpcore_sum(const uint8_t *data, size_t size)
{
    uint64_t total = 0;
    for (; size > MPCORE_SUM_BLOCK; data += MPCORE_SUM_BLOCK, size -= MPCORE_SUM_BLOCK)
        total += mpcore_fold(mpcore_sum_block(data, MPCORE_SUM_BLOCK));
    total += mpcore_fold(mpcore_sum_block(data, size));
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return mpcore_fold(total);
#else
    return mpcore_swap(mpcore_fold(total));
#endif
}

#endif
