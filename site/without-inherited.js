/** For TypeDoc: leaves out what classes and options inherit from Node and the browser, which document it themselves. */
import { Converter, ReflectionKind } from 'typedoc';

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const member of project.getReflectionsByKind(
      ReflectionKind.ClassOrInterface | ReflectionKind.SomeMember,
    )) {
      const places = project.getSymbolFromReflection?.(member)?.declarations ?? [];
      if (
        places.length > 0 &&
        places.every((place) => place.getSourceFile().fileName.includes('/node_modules/'))
      )
        project.removeReflection(member);
    }
  });
}
