"""Instance preservation: do objects stay what and how many they are? Two official judges that answer differently."""
