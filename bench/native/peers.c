/* What a C programmer would write by hand for each job, compiled for this very processor: the ceilings. */

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

static uint16_t finish(uint64_t total)
{
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return ntohs((uint16_t)~total);
}

/* RFC 1071 section 4.1, as everybody copies it. */
static uint16_t checksum_plain(const uint8_t *data, size_t size)
{
    uint64_t total = 0;
    for (; size > 1; data += 2, size -= 2) {
        uint16_t word;
        memcpy(&word, data, 2);
        total += word;
    }
    return finish(total + (size ? *data : 0));
}

static uint16_t checksum_simd(const uint8_t *data, size_t size)
{
#if defined(__AVX512BW__)
    const __m512i flip = _mm512_set1_epi16(INT16_MIN), one = _mm512_set1_epi16(1);
    __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    uint64_t words = 0;
    int64_t total = 0;
    for (; size >= 256; data += 256, size -= 256, words += 128)
        for (int i = 0; i < 4; i++)
            sum[i] = _mm512_add_epi32(sum[i], _mm512_madd_epi16(
                _mm512_xor_si512(_mm512_loadu_si512(data + 64 * i), flip), one));
    for (int i = 0; i < 4; i++)
        total += _mm512_reduce_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(sum[i])))
            + _mm512_reduce_add_epi64(_mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(sum[i], 1)));
#elif defined(__AVX2__)
    const __m256i flip = _mm256_set1_epi16(INT16_MIN), one = _mm256_set1_epi16(1);
    __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    uint64_t words = 0;
    int64_t total = 0;
    int32_t lanes[8];
    for (; size >= 128; data += 128, size -= 128, words += 64)
        for (int i = 0; i < 4; i++)
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(
                _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(data + 32 * i)), flip), one));
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_si256((__m256i *)lanes, sum[i]);
        for (int j = 0; j < 8; j++)
            total += lanes[j];
    }
#else
    uint64_t words = 0, total = 0;
#endif
    total += 0x8000 * words;
    for (; size > 1; data += 2, size -= 2) {
        uint16_t word;
        memcpy(&word, data, 2);
        total += word;
    }
    return finish((uint64_t)total + (size ? *data : 0));
}

#define MANY(name, one) \
    void name(const uint8_t *data, const uint64_t *offsets, const uint32_t *sizes, size_t count, uint16_t *out) \
    { \
        for (size_t i = 0; i < count; i++) \
            out[i] = one(data + offsets[i], sizes[i]); \
    }
MANY(checksum_plain_many, checksum_plain)
MANY(checksum_simd_many, checksum_simd)

struct headers {
    uint8_t src[16], dst[16];
    uint32_t seq, ack, ts_val, ts_ecr, payload_at, payload_size;
    uint16_t src_port, dst_port, window, checksum, mss, mptcp_at[4];
    uint8_t version, flags, wscale, sack_permitted, mptcp_count, mptcp_size[4];
};

static uint32_t read32(const uint8_t *at) { uint32_t value; memcpy(&value, at, 4); return ntohl(value); }
static uint16_t read16(const uint8_t *at) { uint16_t value; memcpy(&value, at, 2); return ntohs(value); }

static int parse(const uint8_t *data, uint32_t size, struct headers *out)
{
    uint32_t at, total, options;
    memset(out, 0, sizeof *out);
    if (size < 20)
        return 0;
    out->version = data[0] >> 4;
    if (out->version == 4) {
        at = (data[0] & 15) * 4;
        total = read16(data + 2);
        if (at < 20 || total > size || total < at + 20 || data[9] != 6)
            return 0;
        memcpy(out->src, data + 12, 4);
        memcpy(out->dst, data + 16, 4);
    } else {
        at = 40;
        if (size < 60 || (total = 40 + read16(data + 4)) > size || data[6] != 6)
            return 0;
        memcpy(out->src, data + 8, 16);
        memcpy(out->dst, data + 24, 16);
    }
    const uint8_t *tcp = data + at;
    options = (tcp[12] >> 4) * 4;
    if (options < 20 || options > total - at)
        return 0;
    out->src_port = read16(tcp);
    out->dst_port = read16(tcp + 2);
    out->seq = read32(tcp + 4);
    out->ack = read32(tcp + 8);
    out->flags = tcp[13];
    out->window = read16(tcp + 14);
    out->checksum = read16(tcp + 16);
    out->payload_at = at + options;
    out->payload_size = total - at - options;
    for (uint32_t i = 20; i < options && tcp[i];) {
        if (tcp[i] == 1) {
            i++;
            continue;
        }
        if (options - i < 2 || tcp[i + 1] < 2 || tcp[i + 1] > options - i)
            break;
        uint8_t length = tcp[i + 1];
        switch (tcp[i]) {
        case 2:
            if (length == 4)
                out->mss = read16(tcp + i + 2);
            break;
        case 3:
            if (length == 3)
                out->wscale = tcp[i + 2];
            break;
        case 4:
            out->sack_permitted = 1;
            break;
        case 8:
            if (length == 10) {
                out->ts_val = read32(tcp + i + 2);
                out->ts_ecr = read32(tcp + i + 6);
            }
            break;
        case 30:
            if (out->mptcp_count < 4) {
                out->mptcp_at[out->mptcp_count] = at + i;
                out->mptcp_size[out->mptcp_count++] = length;
            }
        }
        i += length;
    }
    return 1;
}

size_t parse_many(const uint8_t *data, const uint64_t *offsets, const uint32_t *sizes, size_t count,
                  struct headers *out)
{
    size_t good = 0;
    for (size_t i = 0; i < count; i++)
        good += parse(data + offsets[i], sizes[i], &out[i]);
    return good;
}

size_t headers_size(void) { return sizeof(struct headers); }

/* IPv6 without extension headers; returns the bytes written. */
size_t shim6_insert_many(const uint8_t *data, const uint64_t *offsets, const uint32_t *sizes, size_t count,
                         const uint8_t *locators, const uint8_t *header, uint8_t *out)
{
    uint8_t *start = out;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *packet = data + offsets[i];
        uint16_t length = htons(read16(packet + 4) + 8);
        memcpy(out, packet, 8);
        memcpy(out + 4, &length, 2);
        out[6] = 140;
        memcpy(out + 8, locators, 32);
        memcpy(out + 40, header, 8);
        out[40] = packet[6];
        memcpy(out + 48, packet + 40, sizes[i] - 40);
        out += sizes[i] + 8;
    }
    return (size_t)(out - start);
}
