// Fused warps on the CPU: theta's matrix (or an explicit grid) -> output, and both gradients.
//
// A plain C interface on raw pointers, without Python or torch headers: one build serves every
// torch release. Work is cut into tasks that do not depend on the number of threads, each number is
// written by one task in a fixed order, and partial sums are added in a fixed order: results are
// the same bit for bit from run to run, for any number of threads and any instruction set.

#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "units.h"

namespace stn {

void* scratch(size_t bytes) {
  struct Block {
    void* memory = nullptr;
    size_t size = 0;
    ~Block() { std::free(memory); }
  };
  static thread_local Block block;
  if (block.size < bytes) {
    std::free(block.memory);
    block.size = 0;
    block.memory = std::malloc(bytes);
    if (!block.memory) throw std::bad_alloc();
    block.size = bytes;
  }
  return block.memory;
}

int64_t best_level() {
#ifdef STN_X86
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
    return 2;
  }
  if (__builtin_cpu_supports("avx2")) return 1;
#endif
  return 0;
}

namespace {

// The instruction set to use.
int64_t level_of(const Plan& p) {
  static const int64_t best = best_level();
  return p.level < best ? p.level : best;
}

// The layout of the work has been chosen.
template <class T>
Passes<T> passes_for(const Call<T>& call) {
  const Plan& p = call.p;
#ifdef STN_X86
  const int64_t level = level_of(p);
  if (level >= 2) return call.interleaved ? avx512::interleaved(p, T()) : avx512::planar(p, T());
  if (level == 1) return call.interleaved ? avx2::interleaved(p, T()) : avx2::planar(p, T());
#endif
  return call.interleaved ? baseline::interleaved(p, T()) : baseline::planar(p, T());
}

template <class T>
NearestPasses<T> nearest_passes_for(const Plan& p) {
#ifdef STN_X86
  const int64_t level = level_of(p);
  if (level >= 2) return avx512::nearest(p, T());
  if (level == 1) return avx2::nearest(p, T());
#endif
  return baseline::nearest(p, T());
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How the work is cut; `scatter`: for the gradient to the image.
template <class T>
void cut(Call<T>& call, bool scatter) {
  // bytes of a copy that stays in the cache; pixels of a task; tasks that threads finish together
  constexpr int64_t kPlanar = 256 << 10, kInterleaved = 512 << 10, kTile = 8192, kTasks = 8;
  const Plan& p = call.p;
  call.pad = p.kernel == kCubic ? 4 : 2;
  const int64_t bytes = call.copied() * int64_t(sizeof(T));
  // A copy pays where the plane is small against the output and the cache. It needs no bounds
  // tests.
  const bool pays = call.plane() <= 8 * call.out_plane(), needed = !call.as_stored();
  call.interleaved =
      p.channels >= kChannelGroup &&
      (p.channels_last || (scatter && (needed || (pays && bytes <= 8 * kInterleaved))));
  const int64_t fitting = (call.interleaved ? kInterleaved : kPlanar) / bytes;
  if (p.channels_last && p.storage == kPlain && p.channels % kChannelGroup == 0) {
    call.pad = 0;  // pixels are as interleaved copies have them
    call.block = p.channels;
  } else if (call.interleaved) {
    // few planes at a time: their rows are read and written here and there
    const int64_t most = p.channels_last ? kMostChannels : 2 * kChannelGroup;
    const int64_t groups = ceil_div(p.channels, kChannelGroup);
    call.block =
        kChannelGroup * least(groups, fitting < kChannelGroup ? 1 : fitting / kChannelGroup);
    call.block = least(call.block, most);
  } else if (needed || (pays && fitting)) {
    call.block =
        least(p.channels, fitting < kChannelGroup ? kChannelGroup : least(fitting, kMostPlanes));
    call.plane_by_plane = !p.channels_last && !scatter && p.padding == kConstant && !p.grid &&
                          !p.projective && call.out_plane() <= kRun;
    if (call.plane_by_plane) call.block = 1;
  } else {
    call.pad = 0;
    call.block = least(p.channels, kChannelGroup);
  }
  // What an affine map reads in place is known before, and may be far from the cache. That all of
  // its rows are prefetched pays where most of their pixels are read.
  call.prefetches = !call.pad && !p.grid && !p.projective &&
                    call.plane() <= (call.interleaved ? 12 : 24) * call.out_plane();
  // Every tile of copied planes copies again what it reads.
  int64_t tile = kTile;
  if (call.pad) {
    const int64_t cuts = p.batch >= kTasks ? 1 : ceil_div(kTasks, p.batch);
    tile = ceil_div(call.out_plane(), cuts);
    if (tile < kTile) tile = kTile;
    if (tile < call.plane()) tile = call.plane();
  }
  call.tile_rows = least(ceil_div(tile, p.out_size[0]), call.rows());
  call.tiles = ceil_div(call.rows(), call.tile_rows);
}

template <class T, class Work>
void in_parallel(const Call<T>& call, int64_t tasks, const Work& work) {
  const int64_t pixels = call.p.batch * call.p.channels * call.out_plane();
  const int threads = int(pixels < 32768 ? 1 : least(call.p.threads, tasks));
  if (threads <= 1) {
    for (int64_t task = 0; task < tasks; ++task) work(task);
    return;
  }
  const int64_t share = ceil_div(tasks, 16 * threads);
#pragma omp parallel for schedule(dynamic, share) num_threads(threads)
  for (int64_t task = 0; task < tasks; ++task) work(task);
}

// Memory so large that it was just mapped: every first touch of a page costs, so have large pages.
void prepare(void* memory, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = 2 << 20;
  if (bytes < (4 << 20)) return;
  const uintptr_t start = (reinterpret_cast<uintptr_t>(memory) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / page * page;
  madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);
#endif
}
template <class T>
size_t stored_bytes(const Call<T>& call, int64_t numbers) {
  return size_t(numbers) * (call.p.storage == kPlain ? sizeof(T) : 2);
}

template <class T>
void forward(Call<T> call) {
  cut(call, false);
  const Plan& p = call.p;
  prepare(call.out, stored_bytes(call, p.batch * p.channels * call.out_plane()));
  const auto run = passes_for(call).forward;
  // few outputs: their channels are tasks too
  const int64_t step = p.batch * call.tiles >= 8 ? p.channels : call.interleaved ? call.block : 1;
  const int64_t blocks = ceil_div(p.channels, step);
  in_parallel(call, p.batch * call.tiles * blocks, [&](int64_t task) {
    const int64_t low = task % blocks * step, first = task / blocks % call.tiles * call.tile_rows;
    const int64_t numbers[] = {task / blocks / call.tiles, first,
                               least(first + call.tile_rows, call.rows()), low,
                               least(low + step, p.channels)};
    run(call, numbers);
  });
}

template <class T>
void image_gradient(Call<T> call) {
  cut(call, true);
  const Plan& p = call.p;
  const int64_t size = p.images * p.channels * call.plane();
  prepare(call.grad_image, stored_bytes(call, size));
  const auto run = passes_for(call).image_gradient;
  // enough tasks that threads finish together
  int64_t step = ceil_div(p.images * p.channels, 16);
  if (call.interleaved) step = kChannelGroup * ceil_div(step, kChannelGroup);
  if (!call.interleaved || call.pad) call.block = least(step, call.block);
  const int64_t blocks = ceil_div(p.channels, call.block), tasks = p.images * blocks;
  // one plane, not copied: its outputs are cut too
  if (!call.pad && tasks == 1 && p.batch / p.images * call.out_plane() >= 65536) call.strips = 4;
  const std::unique_ptr<T[]> others(new T[size_t((call.strips - 1) * size)]);
  in_parallel(call, tasks * call.strips, [&](int64_t task) {
    const int64_t strip = task % call.strips, image = task / call.strips / blocks;
    const int64_t low = task / call.strips % blocks * call.block;
    const int64_t numbers[] = {image, low, least(low + call.block, p.channels), strip};
    T* planes = strip
                    ? others.get() + (strip - 1) * size + (image * p.channels + low) * call.plane()
                    : nullptr;
    run(call, numbers, planes);
  });
  if (call.strips == 1) return;
  constexpr int64_t part = 1 << 16;
  in_parallel(call, ceil_div(size, part), [&](int64_t task) {
    const int64_t end = least(size, (task + 1) * part);
    T* sum = static_cast<T*>(call.grad_image);
    for (int64_t strip = 0; strip < call.strips - 1; ++strip) {
      const T* other = others.get() + strip * size;
      for (int64_t k = task * part; k < end; ++k) sum[k] += other[k];
    }
  });
}

template <class T>
void map_gradient(Call<T> call) {
  cut(call, false);
  const Plan& p = call.p;
  const int64_t count = p.grid ? p.dims * call.out_plane() : call.matrix_size();
  const auto run = passes_for(call).map_gradient;
  std::vector<double> parts(size_t(p.grid ? 0 : p.batch * call.tiles * count));
  in_parallel(call, p.batch * call.tiles, [&](int64_t task) {
    const int64_t first = task % call.tiles * call.tile_rows;
    const int64_t numbers[] = {task / call.tiles, first,
                               least(first + call.tile_rows, call.rows())};
    run(call, numbers, p.grid ? nullptr : parts.data() + task * count);
  });
  if (p.grid) return;
  const int64_t sharing = p.batch / p.maps * call.tiles;
  for (int64_t k = 0; k < p.maps * count; ++k) {
    double total = 0;
    for (int64_t n = 0; n < sharing; ++n) {
      total += parts[size_t((k / count * sharing + n) * count + k % count)];
    }
    call.grad_map[k] = T(total);
  }
}

template <class T>
void backward(Call<T> call) {
  if (call.grad_image) image_gradient(call);
  if (call.grad_map) map_gradient(call);
}

// Pixels are counted as bytes where they are only copied.
template <class T>
void nearest_forward(Call<T> call) {
  const Plan& p = call.p;
  prepare(call.out, size_t(p.batch * p.channels * call.out_plane() * p.item));
  const auto run = nearest_passes_for<T>(p).forward;
  constexpr int64_t kTile = 8192;
  call.tile_rows = least(ceil_div(kTile, p.out_size[0]), call.rows());
  call.tiles = ceil_div(call.rows(), call.tile_rows);
  in_parallel(call, p.batch * call.tiles, [&](int64_t task) {
    const int64_t first = task % call.tiles * call.tile_rows;
    const int64_t numbers[] = {task / call.tiles, first, least(first + call.tile_rows, call.rows()),
                               0, p.channels};
    run(call, numbers);
  });
}

// The gradient to the image; that to the maps is zero.
template <class T>
void nearest_backward(Call<T> call) {
  const Plan& p = call.p;
  prepare(call.grad_image, size_t(p.images * p.channels * call.plane() * p.item));
  const auto run = nearest_passes_for<T>(p).image_gradient;
  // enough tasks that threads finish together
  const int64_t step = ceil_div(p.channels, least(ceil_div(16, p.images), p.channels));
  const int64_t blocks = ceil_div(p.channels, step);
  in_parallel(call, p.images * blocks, [&](int64_t task) {
    const int64_t low = task % blocks * step;
    const int64_t numbers[] = {task / blocks, low, least(low + step, p.channels)};
    run(call, numbers);
  });
}

template <class T>
int guarded(void (*pass)(Call<T>), const Call<T>& call) {
  try {
    pass(call);
  } catch (...) {
    return 1;  // out of memory
  }
  return 0;
}

}  // namespace
}  // namespace stn

using stn::Call;
using stn::Plan;

#define STN_EXPORT extern "C" __attribute__((visibility("default")))

STN_EXPORT int stn_abi() { return 5; }
STN_EXPORT int stn_level() { return int(stn::best_level()); }
STN_EXPORT int stn_gathers() {
#ifdef STN_X86
  return stn::best_level() >= 2 && stn::avx512::gathers();
#else
  return 0;
#endif
}

// `map` is the matrices (maps, rows, dims + 1) or grids (maps, *out_size, dims), fill (fills,
// channels) or null. The gradient to grids has the output's batch. A null gradient is not computed.
// All arrays are contiguous, or channels_last where the plan says so. Nearest has functions of its
// own: images, fill values and outputs are elements of `item` bytes. Returns 0, or 1 when there is
// no memory.
#define STN_DEFINE(T, suffix)                                                                    \
  STN_EXPORT int stn_forward_##suffix(const Plan* p, const void* image, const T* map,            \
                                      const T* fill, void* out) {                                \
    return stn::guarded(stn::forward<T>,                                                         \
                        Call<T>{*p, image, nullptr, map, fill, out, nullptr, nullptr});          \
  }                                                                                              \
  STN_EXPORT int stn_backward_##suffix(const Plan* p, const void* image, const T* map,           \
                                       const T* fill, const void* grad, void* grad_image,        \
                                       T* grad_map) {                                            \
    return stn::guarded(stn::backward<T>,                                                        \
                        Call<T>{*p, image, grad, map, fill, nullptr, grad_image, grad_map});     \
  }                                                                                              \
  STN_EXPORT int stn_nearest_##suffix(const Plan* p, const void* image, const T* map,            \
                                      const void* fill, void* out) {                             \
    return stn::guarded(stn::nearest_forward<T>,                                                 \
                        Call<T>{*p, image, nullptr, map, nullptr, out, nullptr, nullptr, fill}); \
  }                                                                                              \
  STN_EXPORT int stn_nearest_backward_##suffix(const Plan* p, const T* map, const void* grad,    \
                                               void* grad_image) {                               \
    return stn::guarded(stn::nearest_backward<T>,                                                \
                        Call<T>{*p, nullptr, grad, map, nullptr, nullptr, grad_image, nullptr}); \
  }
STN_DEFINE(float, f32)
STN_DEFINE(double, f64)
