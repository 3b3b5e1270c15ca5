"""A Papermill engine that tells the truth: `papermill --engine lamb-keras`.

Papermill loads its engines while it is itself being imported, all of them, in every
process. So this module imports nothing: `lamb_keras.batch.papermill` does the work.
"""


class Engine:
    """What Papermill's registry asks of an engine; it is named by an entry point."""

    @classmethod
    def execute_notebook(cls, nb, kernel_name, **options):
        """Executes the notebook `nb`, saving it as it goes; returns it.

        The options are Papermill's own, those of `nbclient.NotebookClient`, and
        `parameter_table`: whether parameters are shown at the top (default: yes).
        """
        from lamb_keras.batch import check_system

        check_system()
        from lamb_keras.batch import papermill

        return papermill.execute(nb, kernel_name, **options)

    @classmethod
    def nb_kernel_name(cls, nb, name=None):
        from papermill.utils import nb_kernel_name

        return nb_kernel_name(nb, name)

    @classmethod
    def nb_language(cls, nb, language=None):
        from papermill.utils import nb_language

        return nb_language(nb, language)
