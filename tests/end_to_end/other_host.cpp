// Preloaded into a rank of a test (LD_PRELOAD): lets one machine stand for hosts that are not alike. What
// changes is told by the environment; what it does not name stays as it is.
//   SPQ_OTHER_VERSION=mpi|hdf5|torch  that library states another version
//   SPQ_OTHER_CLOCK=SECONDS           the time of day is off by so much
//   SPQ_OTHER_LOCALE=1                C and C++ use the locale of the environment; ends the process unless
//   its numbers
//                                     have a decimal comma
//   SPQ_SLOW_DISK=SECONDS             fsync takes so much longer
#include <dlfcn.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <locale>
#include <string>

namespace {

bool other_version(const char* library) {
  const char* wanted = std::getenv("SPQ_OTHER_VERSION");
  return wanted && std::strcmp(wanted, library) == 0;
}

double seconds(const char* variable) {
  const char* text = std::getenv(variable);
  return text ? std::atof(text) : 0;
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

__attribute__((constructor)) void use_locale() {
  if (!std::getenv("SPQ_OTHER_LOCALE")) return;
  const bool found = std::setlocale(LC_ALL, "") && std::strcmp(std::localeconv()->decimal_point, ",") == 0;
  if (!found) {
    std::fputs("other_host: the locale has no decimal comma\n", stderr);
    _exit(99);
  }
  std::locale::global(std::locale(""));
}

}  // namespace

extern "C" {

int MPI_Get_library_version(char* version, int* length) {
  if (!other_version("mpi")) return next<int(char*, int*)>("MPI_Get_library_version")(version, length);
  *length = std::snprintf(version, 32, "Open MPI v9.9.9, package: other");
  return 0;
}

int H5get_libversion(unsigned* major, unsigned* minor, unsigned* release) {
  const int status = next<int(unsigned*, unsigned*, unsigned*)>("H5get_libversion")(major, minor, release);
  if (other_version("hdf5")) *release += 100;
  return status;
}

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const long status = syscall(SYS_clock_gettime, clock, time);
  if (status == 0 && clock == CLOCK_REALTIME) time->tv_sec += static_cast<time_t>(seconds("SPQ_OTHER_CLOCK"));
  return static_cast<int>(status);
}

int gettimeofday(timeval* time, void*) noexcept {
  timespec now{};
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  *time = {now.tv_sec, now.tv_nsec / 1000};
  return 0;
}

time_t time(time_t* result) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}

int fsync(int file) {
  usleep(static_cast<useconds_t>(seconds("SPQ_SLOW_DISK") * 1e6));
  return static_cast<int>(syscall(SYS_fsync, file));
}

}  // extern "C"

namespace at {

// Hides LibTorch's function of this name.
std::string show_config();

std::string show_config() {
  std::string text = next<std::string()>("_ZN2at11show_configB5cxx11Ev")();
  const size_t version = text.find("TORCH_VERSION=");
  if (other_version("torch") && version != std::string::npos) text.insert(version + 14, "9.");
  return text;
}

}  // namespace at
