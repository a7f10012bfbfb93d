// Between memory, in the layout and the type it is stored with, and extended copies as T.
#pragma once

#include "locate.h"

namespace stn::STN_SET {
namespace {

// ---- Half precision: by bits, so that every machine can, and rounds to nearest even -------------

STN_INLINE float bits_to_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
STN_INLINE uint32_t float_to_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}
STN_INLINE float from_bfloat16(uint16_t h) { return bits_to_float(uint32_t(h) << 16); }
STN_INLINE uint16_t to_bfloat16(float x) {
  const uint32_t bits = float_to_bits(x);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return uint16_t(x == x ? rounded : 0x7fc0);
}
STN_INLINE float from_float16(uint16_t h) {
  // as a float with the half's exponent; the product moves it to where floats have theirs
  const float small = bits_to_float(uint32_t(h & 0x7fff) << 13) * 0x1p112f;
  const uint32_t bits = float_to_bits(small) | (small >= 65536.0f ? 0x7f800000u : 0u);
  return bits_to_float(bits | uint32_t(h & 0x8000) << 16);
}
STN_INLINE uint16_t to_float16(float x) {
  const uint32_t bits = float_to_bits(x), size = bits & 0x7fffffff;
  // below 2^-14 steps are 2^-24: adding 0.5, of which the last bit is that, rounds to them
  const uint32_t tiny = float_to_bits(bits_to_float(size) + 0.5f) - 0x3f000000u;
  const uint32_t normal = (size - (112u << 23) + 0xfff + (size >> 13 & 1)) >> 13;
  uint32_t half = size < (113u << 23) ? tiny : normal;
  half = size >= (143u << 23) ? 0x7c00u : half;  // 65536 and more; rounding up gets there too
  half = size > 0x7f800000u ? 0x7e00u : half;
  return uint16_t(half | (bits >> 16 & 0x8000));
}

// `n` numbers that lie side by side, from or to element `at` of a tensor.
template <class T>
STN_NOINLINE void read_run(int64_t storage, const void* from, int64_t at, int64_t n, T* to) {
  if (storage == kPlain) {
    memcpy(to, static_cast<const T*>(from) + at, size_t(n) * sizeof(T));
    return;
  }
  const uint16_t* half = static_cast<const uint16_t*>(from) + at;
  if (storage == kBfloat16) {
    for (int64_t k = 0; k < n; ++k) to[k] = from_bfloat16(half[k]);
  } else {
    for (int64_t k = 0; k < n; ++k) to[k] = from_float16(half[k]);
  }
}
template <class T>
STN_NOINLINE void write_run(int64_t storage, void* to, int64_t at, int64_t n, const T* from) {
  if (storage == kPlain) {
    memcpy(static_cast<T*>(to) + at, from, size_t(n) * sizeof(T));
    return;
  }
  uint16_t* half = static_cast<uint16_t*>(to) + at;
  if (storage == kBfloat16) {
    for (int64_t k = 0; k < n; ++k) half[k] = to_bfloat16(float(from[k]));
  } else {
    for (int64_t k = 0; k < n; ++k) half[k] = to_float16(float(from[k]));
  }
}

// ---- Runs of pixels with their channels ---------------------------------------------------------

// Where the pixels and channels of a buffer are: from one to the next.
struct Steps {
  int64_t pixel, channel;
};

// `m` rows of `n` numbers become columns. What is far apart, the rows or else the columns, is gone
// along one after the other: its cache lines may exclude each other.
template <class T, bool RowsApart>
STN_NOINLINE void transpose(const T* from, int64_t stride, T* to, int64_t to_stride, int64_t n,
                            int64_t m) {
  const int64_t whole_n = n / 4 * 4, whole_m = m / 4 * 4;
  for (int64_t a = 0; a < (RowsApart ? whole_m : whole_n); a += 4) {
    for (int64_t b = 0; b < (RowsApart ? whole_n : whole_m); b += 4) {
      const int64_t i = RowsApart ? a : b, j = RowsApart ? b : a;
      transpose4(from + i * stride + j, stride, to + j * to_stride + i, to_stride);
    }
  }
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = i < whole_m ? whole_n : 0; j < n; ++j) {
      to[j * to_stride + i] = from[i * stride + j];
    }
  }
}

// `n` numbers that do not overlap. Rows are short, and a call of memcpy takes longer than the copy.
template <class T>
STN_INLINE void copy_row(const T* from, T* to, int64_t n) {
  int64_t j = 0;
  for (; j + kLanes<T> <= n; j += kLanes<T>) store(to + j, load<Vec<T>>(from + j));
  if (j < n && n >= kLanes<T>) {  // the last ones, some of them again
    store(to + n - kLanes<T>, load<Vec<T>>(from + n - kLanes<T>));
    return;
  }
  for (; j < n; ++j) to[j] = from[j];
}

// `n` pixels of `m` channels from one buffer to another.
template <class T>
STN_NOINLINE void copy_pixels(const T* from, Steps f, T* to, Steps t, int64_t n, int64_t m) {
  if (f.pixel == 1 && t.pixel == 1) {
    for (int64_t c = 0; c < m; ++c) {
      const T* source = from + c * f.channel;
      T* target = to + c * t.channel;
      copy_row(source, target, n);
    }
  } else if (f.channel == 1 && t.channel == 1 && f.pixel == m && t.pixel == m) {
    memcpy(to, from, size_t(n * m) * sizeof(T));
  } else if (f.channel == 1 && t.channel == 1) {
    for (int64_t j = 0; j < n; ++j) {
      memcpy(to + j * t.pixel, from + j * f.pixel, size_t(m) * sizeof(T));
    }
  } else if (f.pixel == 1 && t.channel == 1) {
    transpose<T, true>(from, f.channel, to, t.pixel, n, m);
  } else if (f.channel == 1 && t.pixel == 1) {
    transpose<T, false>(from, f.pixel, to, t.channel, m, n);
  } else {
    for (int64_t c = 0; c < m; ++c) {
      for (int64_t j = 0; j < n; ++j) {
        to[j * t.pixel + c * t.channel] = from[j * f.pixel + c * f.channel];
      }
    }
  }
}

// How a tensor of planes of `plane` pixels has them.
template <class T>
STN_INLINE Steps stored_steps(const Call<T>& call, int64_t plane) {
  return call.p.channels_last ? Steps{call.p.channels, 1} : Steps{1, plane};
}

// Of half precision, if buffers are laid out differently a piece at a time: `n` pixels of `m`
// channels, from element `start` on.
template <class T, bool Put>
STN_NOINLINE void half_pixels(int64_t storage, void* tensor, int64_t start, Steps own,
                              int64_t channels, int64_t n, int64_t m, T* buffer, Steps steps) {
  constexpr int64_t room = 2 * kMostChannels;
  T piece[room];
  const bool planar = own.pixel == 1;
  const auto exchange = [&](int64_t at, int64_t count, T* run) {
    if (Put) {
      write_run(storage, tensor, at, count, run);
    } else {
      read_run(storage, tensor, at, count, run);
    }
  };
  if (planar && steps.pixel == 1) {
    for (int64_t c = 0; c < m; ++c) {
      exchange(start + c * own.channel, n, buffer + c * steps.channel);
    }
    return;
  }
  if (!planar && steps.channel == 1) {
    if (m == channels && steps.pixel == m) return exchange(start, n * m, buffer);
    for (int64_t j = 0; j < n; ++j) exchange(start + j * own.pixel, m, buffer + j * steps.pixel);
    return;
  }
  const int64_t few = planar ? 1 : m, some = room / few;  // channels and pixels of a piece
  const Steps inside = planar ? Steps{1, 0} : Steps{m, 1};
  for (int64_t c = 0; c < m; c += few) {
    for (int64_t j = 0; j < n; j += some) {
      const int64_t count = n - j < some ? n - j : some;
      const int64_t runs = planar || m == channels ? 1 : count, length = count * few / runs;
      const int64_t from = start + j * own.pixel + c * own.channel;
      T* at = buffer + j * steps.pixel + c * steps.channel;
      if (Put) copy_pixels<T>(at, steps, piece, inside, count, few);
      for (int64_t k = 0; k < runs; ++k) {
        exchange(from + k * own.pixel, length, piece + k * length);
      }
      if (!Put) copy_pixels<T>(piece, inside, at, steps, count, few);
    }
  }
}

// `n` pixels from `pixel` on, channels [low, high), of batch element b of a stored tensor. `Put`
// is false: from the tensor to the buffer, or true: the other way.
template <class T, bool Put>
STN_NOINLINE void stored_pixels(const Call<T>& call, const void* tensor, int64_t plane, int64_t b,
                                int64_t pixel, int64_t n, int64_t low, int64_t high, T* buffer,
                                Steps steps) {
  const int64_t channels = call.p.channels;
  const Steps own = stored_steps(call, plane);
  const int64_t start = b * channels * plane + pixel * own.pixel + low * own.channel;
  void* memory = const_cast<void*>(tensor);
  if (call.p.storage != kPlain) {
    return half_pixels<T, Put>(call.p.storage, memory, start, own, channels, n, high - low, buffer,
                               steps);
  }
  T* stored = static_cast<T*>(memory) + start;
  if (Put) {
    copy_pixels<T>(buffer, steps, stored, own, n, high - low);
  } else {
    copy_pixels<T>(stored, own, buffer, steps, n, high - low);
  }
}

// The same of a row of the image or its gradient; rows are many, and short.
template <class T, bool Put>
STN_INLINE void stored_row(const Call<T>& call, const void* tensor, int64_t image, int64_t row,
                           int64_t low, int64_t high, T* buffer, Steps steps) {
  const int64_t n = call.p.size[0], plane = call.plane();
  if (!call.as_stored() || call.interleaved) {
    return stored_pixels<T, Put>(call, tensor, plane, image, row * n, n, low, high, buffer, steps);
  }
  T* stored = static_cast<T*>(const_cast<void*>(tensor)) + (image * call.p.channels + low) * plane +
              row * n;
  for (int64_t c = low; c < high; ++c, stored += plane, buffer += steps.channel) {
    copy_row<T>(Put ? buffer : stored, Put ? stored : buffer, n);
  }
}

// ---- Extended copies ----------------------------------------------------------------------------

// How the copy of `m` channels has them; interleaved ones are rounded up to whole vectors.
template <class T>
STN_INLINE int64_t copy_channels(int64_t m) {
  return (m + kChannelGroup - 1) / kChannelGroup * kChannelGroup;
}
template <class T>
STN_INLINE Steps copy_steps(const Call<T>& call, int64_t m) {
  return call.interleaved ? Steps{copy_channels<T>(m), 1} : Steps{1, call.copied()};
}
template <class T>
STN_INLINE size_t copy_size(const Call<T>& call, int64_t m) {
  // vectors of what lies behind the last pixels are read, and not used
  return size_t(call.copied() * (call.interleaved ? copy_channels<T>(m) : m) + 2 * kGroup);
}

// Calls work(row of the copy, row of the image or -1) for the rows of a copy, of the slowest axis
// alone those in [first, last).
template <class T, class F>
STN_INLINE void for_rows(const Call<T>& call, int64_t first, int64_t last, const F& work) {
  const Plan& p = call.p;
  const bool deep = p.dims == 3;
  const int64_t ny = p.size[1], nz = p.size[2], pad = call.pad, z_pad = deep ? pad : 0;
  const int64_t z_first = deep ? first : 0, z_last = deep ? last : 1;
  const int64_t y_first = deep ? -pad : first, y_last = deep ? ny + pad : last;
  for (int64_t z = z_first; z < z_last; ++z) {
    const int64_t on_z = pixel_at(z, nz, p.padding);
    for (int64_t y = y_first; y < y_last; ++y) {
      const int64_t on_y = pixel_at(y, ny, p.padding);
      work((z + z_pad) * (ny + 2 * pad) + y + pad, on_z < 0 || on_y < 0 ? -1 : on_z * ny + on_y);
    }
  }
}

// `extend` of planes that are read as they are stored, with a constant around them.
template <class T>
STN_NOINLINE void surround(const Call<T>& call, int64_t b, int64_t low, int64_t high, int64_t first,
                           int64_t last, T* copy) {
  const int64_t nx = call.p.size[0], pad = call.pad, stride = call.stride();
  const T* source =
      static_cast<const T*>(call.image) + (call.image_of(b) * call.p.channels + low) * call.plane();
  for (int64_t c = low; c < high; ++c, source += call.plane(), copy += call.copied()) {
    T sides[kMostPad];  // as wide as a pad, or wider: then what is behind it is written later
    for (T& side : sides) side = call.fill_of(b, c);
    for_rows(call, first, last, [&](int64_t row, int64_t on) {
      T* to = copy + row * stride;
      if (on < 0) {
        for (int64_t i = 0; i < stride; ++i) to[i] = sides[0];
        return;
      }
      memcpy(to, sides, sizeof sides);
      copy_row(source + on * nx, to + pad, nx);
      memcpy(to + pad + nx, sides, sizeof sides);
    });
  }
}

// A copy of channels [low, high) of the image of output b, extended as the padding says; of the
// slowest axis only what lies in [first, last).
template <class T>
STN_NOINLINE void extend(const Call<T>& call, int64_t b, int64_t low, int64_t high, int64_t first,
                         int64_t last, T* copy) {
  const Plan& p = call.p;
  if (call.as_stored() && !call.interleaved && p.padding == kConstant) {
    return surround(call, b, low, high, first, last, copy);
  }
  const int64_t nx = p.size[0], pad = call.pad, m = high - low;
  const Steps steps = copy_steps(call, m);
  T fills[kMostChannels];
  for (int64_t c = 0; c < m; ++c) fills[c] = call.fill_of(b, low + c);
  int64_t from[2 * kMostPad], to[2 * kMostPad];  // columns that the extensions repeat
  for (int64_t k = 0; k < 2 * pad; ++k) {
    to[k] = k < pad ? k - pad : nx + k - pad;
    from[k] = pixel_at(to[k], nx, p.padding) * steps.pixel;
    to[k] *= steps.pixel;
  }
  for_rows(call, first, last, [&](int64_t row, int64_t on) {
    T* start = copy + (row * call.stride() + pad) * steps.pixel;
    if (on < 0) {
      for (int64_t c = 0; c < m; ++c) {
        T* at = start + c * steps.channel;
        for (int64_t i = -pad; i < nx + pad; ++i) at[i * steps.pixel] = fills[c];
      }
      return;
    }
    stored_row<T, false>(call, call.image, call.image_of(b), on, low, high, start, steps);
    if (p.padding == kConstant && !call.interleaved) {
      for (int64_t c = 0; c < m; ++c) {
        T* at = start + c * steps.channel;
        for (int64_t k = 0; k < pad; ++k) at[-1 - k] = at[nx + k] = fills[c];
      }
      return;
    }
    for (int64_t c = 0; c < m; ++c) {
      T* at = start + c * steps.channel;
      for (int64_t k = 0; k < 2 * pad; ++k) at[to[k]] = from[k] < 0 ? fills[c] : at[from[k]];
    }
  });
}

// The transpose: what was added to a copy, added up on the image's gradient.
template <class T>
STN_NOINLINE void fold(const Call<T>& call, int64_t image, int64_t low, int64_t high, T* copy) {
  const Plan& p = call.p;
  const int64_t nx = p.size[0], pad = call.pad, m = high - low;
  const Steps steps = copy_steps(call, m);
  const auto start = [&](int64_t z, int64_t y) {
    const int64_t row = (p.dims == 3 ? z + pad : 0) * (p.size[1] + 2 * pad) + y + pad;
    return copy + (row * call.stride() + pad) * steps.pixel;
  };
  const auto add = [&](T* to, const T* from) {
    for (int64_t c = 0; c < m; ++c) to[c * steps.channel] += from[c * steps.channel];
  };
  if (p.padding != kConstant) {
    for_rows(call, -pad, p.size[p.dims - 1] + pad, [&](int64_t row, int64_t on) {
      T* from = copy + (row * call.stride() + pad) * steps.pixel;
      T* to = start(on / p.size[1], on % p.size[1]);
      for (int64_t i = -pad; i < nx + pad; ++i) {
        const int64_t at = pixel_at(i, nx, p.padding);
        if (from != to || at != i) add(to + at * steps.pixel, from + i * steps.pixel);
      }
    });
  }
  for (int64_t row = 0; row < p.size[1] * p.size[2]; ++row) {
    stored_row<T, true>(call, call.grad_image, image, row, low, high,
                        start(row / p.size[1], row % p.size[1]), steps);
  }
}

// What part of the slowest axis the rows [first, last) of an output read, extensions included.
template <class T, int D>
STN_NOINLINE void rows_read(Coordinates<T, D>& coordinates, int64_t first, int64_t last,
                            int64_t& from, int64_t& to) {
  const Call<T>& call = coordinates.call;
  const Plan& p = call.p;
  from = -call.pad, to = p.size[D - 1] + call.pad;
  if (p.grid || p.projective || (p.padding != kConstant && p.padding != kBorder)) return;
  double first_read = 1e300, last_read = -1e300;
  const int64_t ny = p.out_size[1];
  for (int corner = 0; corner < 1 << D; ++corner) {
    const int64_t y = D == 3 ? (corner & 2 ? ny - 1 : 0) : corner & 2 ? last - 1 : first;
    const int64_t z = D == 3 ? (corner & 4 ? (last - 1) / ny : first / ny) : 0;
    coordinates.row(z * ny + y);
    const double end = corner & 1 ? p.out_size[0] - 1 : 0;
    double v = 0;
    for (int k = 0; k < D; ++k) {  // the slowest axis last
      v = double(coordinates.slope[k]) * (end - call.axis(0).out_centre) +
          double(coordinates.start[k]);
      if (!(v > -1e9 && v < 1e9)) return;  // not finite on one axis, it reads the first row
    }
    first_read = v < first_read ? v : first_read;
    last_read = v > last_read ? v : last_read;
  }
  const int64_t lowest = from, highest = to;
  from = int64_t(first_read) - 4, to = int64_t(last_read) + 6;
  from = from < lowest ? lowest : from > highest - 8 ? highest - 8 : from;
  to = to > highest ? highest : to < lowest + 8 ? lowest + 8 : to;
  if (from < lowest) from = lowest;
  if (to > highest) to = highest;
}

}  // namespace
}  // namespace stn::STN_SET
